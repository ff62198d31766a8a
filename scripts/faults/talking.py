"""A program of devices that send each other messages, and others of which the server logs each.

    python -m scripts.faults.talking PLAN

`do` of the plan: `messages` (of a round, every other one durable), `per_second`, `size` (characters
of a text), `lines_per_second`, and `busy_users` and `busy_share` as of `stalling`. Reports `ready`.
After each command, such as `1`, it reports `1 measured` with the latencies of that round; after
`end`, `done` when everybody has everything.
"""

import asyncio
import time

from scripts.faults.device import Message
from scripts.faults.fleet import Fleet, commands, paced, run, say
from scripts.faults.household import complete_all
from scripts.faults.latencies import Latencies
from scripts.faults.stalling import KINDS, Traffic

END = "end"


async def _say_lines(fleet: Fleet, per_second: float) -> None:
    async for number in paced(per_second):
        fleet.devices[number % len(fleet.devices)].say({"type": "talk.say"})


async def talk(fleet: Fleet) -> None:
    """Let messages flow in rounds, as told."""
    latencies = Latencies(*KINDS)

    def took(message: Message) -> None:
        sent = message["payload"].get("sent")
        if sent is not None:
            kind = "durable" if "offset" in message else "ephemeral"
            latencies.note(kind, (time.monotonic_ns() - sent) / 1e9)

    for device in fleet.devices:
        device.took = took
    traffic = Traffic(fleet, [])
    await fleet.join()
    orders = await commands()
    say("ready")
    while (word := (await orders.readline()).decode().strip()) not in ("", END):
        latencies = Latencies(*KINDS)
        logging = asyncio.create_task(_say_lines(fleet, fleet.plan.do["lines_per_second"]))
        await traffic.flow()
        logging.cancel()
        await asyncio.gather(logging, return_exceptions=True)
        say(f"{word} measured", **latencies.figures())
    await complete_all(fleet)
    say("done")


if __name__ == "__main__":
    run(talk)
