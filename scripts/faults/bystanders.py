"""A program of devices of which others want nothing, while somebody floods the server.

    python -m scripts.faults.bystanders PLAN

`do` of the plan: `seconds` (of one measurement), `per_second` (messages of all devices), `visitors`
(tokens of devices that come only for a moment), `visits_per_second`, `missed_seconds` (after which
an upgrade of theirs is missed) and `favoured` (whether they run before others). Says `ready`. After
`measure` the devices send to each other and visitors come, and it says `measured` with the
latencies, those of upgrades among them, and `missed` upgrades; this may be repeated. After `finish`
it says `answered` with all outcomes, and `done` when all devices have everything.
"""

import asyncio
import os
import time
from itertools import cycle, islice
from typing import Final

from scripts.faults.asking import Asker, Tally
from scripts.faults.device import Message
from scripts.faults.favour import favour
from scripts.faults.fleet import Fleet, commands, run, say
from scripts.faults.household import complete_all
from scripts.faults.latencies import Latencies
from scripts.faults.link import Link
from scripts.faults.traffic import Traffic

UPGRADE: Final = "upgrade"


class Visitors:
    """Devices that connect, wait for `connected`, and go."""

    def __init__(self, port: int, tokens: list[str], missed_seconds: float) -> None:
        self.latencies = Latencies(UPGRADE)
        self.missed = 0
        self._missed_seconds = missed_seconds
        self._port = port
        self._tokens = cycle(tokens)

    async def come(self, seconds: float, per_second: float) -> None:
        """Come for so many seconds at an even rate."""
        self.latencies, self.missed = Latencies(UPGRADE), 0
        visits: list[asyncio.Task[None]] = []
        for token in islice(self._tokens, int(seconds * per_second)):
            visits.append(asyncio.create_task(self._visit(token)))
            await asyncio.sleep(1 / per_second)
        await asyncio.gather(*visits)

    async def _visit(self, token: str) -> None:
        began, connected = time.monotonic(), asyncio.Event()

        def take(message: Message) -> None:
            if message["type"] == "connected":
                connected.set()

        link = Link(take)
        try:
            async with asyncio.timeout(self._missed_seconds):
                url = f"ws://127.0.0.1:{self._port}/v1/ws?instance=visitor"
                await link.open(url, {"Authorization": f"Bearer {token}"})
                await connected.wait()
            self.latencies.note(UPGRADE, time.monotonic() - began)
        except OSError:
            # A TimeoutError is one, too.
            self.missed += 1
        link.abort()


async def stand_by(fleet: Fleet) -> None:
    """Measure as often as told, and have everything in the end."""
    do, tally = fleet.plan.do, Tally()
    if do["favoured"]:
        favour(os.getpid())
    traffic = Traffic(fleet, [Asker(device, tally) for device in fleet.devices])
    visitors = Visitors(fleet.plan.port, do["visitors"], do["missed_seconds"])
    await fleet.join()
    say("ready")
    orders, count = await commands(), 0
    while (await orders.readline()).strip() == b"measure":
        await asyncio.gather(
            traffic.flow(do["seconds"], do["per_second"]),
            visitors.come(do["seconds"], do["visits_per_second"]),
        )
        count += 1
        figures = traffic.latencies.figures() | visitors.latencies.figures()
        say("measured", **figures, missed=visitors.missed, count=count)
    say("answered", surplus=tally.surplus, outcomes=tally.outcomes, durable=traffic.durable)
    await complete_all(fleet)
    say("done")


if __name__ == "__main__":
    os.setsid()
    run(stand_by)
