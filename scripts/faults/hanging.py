"""A program of devices whose messages hang in a feature, while they send other messages, too.

    python -m scripts.faults.hanging PLAN

`do` of the plan: `hang` (whether anything does), `seconds` (of other messages) and `per_second`,
`spread` (seconds in which the devices begin), `behind` (how many `small` and `large` messages each
device sends behind one that hangs) and `at_once` (devices that do so at the same time).

Says `ready` and waits for `go`; says `hanging` when all have begun, and `measured` with the
latencies of the other messages. After `end` it says `hung` when nothing hangs any more. After
`small`, and after `large`, it sends such messages, says `small kept` with how many have no answer,
and `small passed` when all have. It says `answered` with all outcomes, and `done` when everybody
has everything; it ends after `leave`.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import orjson

from scripts.faults.asking import Answer, Asker, Tally
from scripts.faults.device import Message
from scripts.faults.fleet import Fleet, commands, run, say, told
from scripts.faults.household import complete_all
from scripts.faults.traffic import PING, SIZE, Traffic

LARGE_BYTES: Final = 65_536
"""Of a large message: the longest that the server takes."""

WIDE: Final = "\N{MUSICAL SYMBOL G CLEF}"
"""A character that has Python keep a whole text with four bytes for each of its characters."""

FOREVER: Final[Message] = {"type": "hang.forever"}
SMALL: Final[Message] = {"type": "hang.small", "payload": "x" * SIZE}


class Hanging:
    """Has a message of each device hang; when one is answered, the device sends the next."""

    def __init__(self, askers: Sequence[Asker]) -> None:
        self.seconds: list[float] = []
        """How long each took to be answered."""
        self._askers = askers
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    async def begin(self, spread: float) -> None:
        """Have one device after the other begin, within so many seconds."""
        began = time.monotonic()
        for place, asker in enumerate(self._askers):
            due = began + spread * place / len(self._askers)
            await asyncio.sleep(max(0, due - time.monotonic()))
            self._tasks.append(asyncio.create_task(self._keep(asker)))

    async def end(self) -> None:
        """Send no more, and wait for the answers."""
        self._over = True
        await asyncio.gather(*self._tasks)

    async def _keep(self, asker: Asker) -> None:
        while not self._over:
            answer = await asker.ask(FOREVER)
            self.seconds.append(answer.seconds)


class Crowd:
    """Has each device send messages behind one that hangs, more than the server holds back."""

    def __init__(self, askers: Sequence[Asker], rng: random.Random) -> None:
        self.most = 0
        """That were held back of one device."""
        self._to_come = rng.sample(askers, len(askers))
        self._hanging: list[asyncio.Future[Answer]] = []
        self._behind: list[asyncio.Future[Answer]] = []

    @property
    def kept(self) -> int:
        """Messages that have no answer yet, those that hang apart."""
        return _open(self._behind)

    async def gather(self, count: int, make: Callable[[Asker], Message], at_once: int) -> None:
        """Return when the server has read all messages, `count` of each device.

        So many devices send at the same time.
        """
        await asyncio.gather(*(self._gather(count, make) for _ in range(at_once)))

    async def passed(self) -> None:
        """Wait until each has its answer."""
        await asyncio.gather(*self._hanging, *self._behind)

    async def _gather(self, count: int, make: Callable[[Asker], Message]) -> None:
        while self._to_come:
            asker = self._to_come.pop()
            self._hanging.append(asker.ask(FOREVER))
            behind = [asker.ask(make(asker)) for _ in range(count)]
            # Its answer overtakes those that wait, and follows those that are refused.
            await asker.ask(PING)
            self.most = max(self.most, _open(behind))
            self._behind += behind


def _open(answers: Iterable[asyncio.Future[Answer]]) -> int:
    return sum(not answer.done() for answer in answers)


def small(_asker: Asker) -> Message:
    """Return a message of which many fit."""
    return SMALL


def large(asker: Asker) -> Message:
    """Return a message as long as the server takes, with the id that it will have."""
    message: Message = {"type": "hang.large", "payload": WIDE}
    short = LARGE_BYTES - len(orjson.dumps(message | {"id": asker.next_id()}))
    return message | {"payload": WIDE + "x" * short}


async def hang(fleet: Fleet) -> None:
    """Have messages hang or not, time the others, then send more than the server holds back."""
    do = fleet.plan.do
    tally = Tally()
    askers = [Asker(device, tally) for device in fleet.devices]
    traffic, hanging = Traffic(fleet, askers), Hanging(askers)
    await fleet.join()
    say("ready")
    orders = await commands()
    await told(orders, "go")
    if do["hang"]:
        await hanging.begin(do["spread"])
        say("hanging")
    await traffic.flow(do["seconds"], do["per_second"])
    say("measured", durable=traffic.durable, **traffic.latencies.figures())
    if do["hang"]:
        await told(orders, "end")
        await hanging.end()
        say("hung", shortest=min(hanging.seconds), longest=max(hanging.seconds))
        for size, make in (("small", small), ("large", large)):
            await told(orders, size)
            crowd = Crowd(askers, fleet.rng)
            await crowd.gather(do["behind"][size], make, do["at_once"])
            say(f"{size} kept", all=crowd.kept, most=crowd.most)
            await crowd.passed()
            say(f"{size} passed")
    say("answered", surplus=tally.surplus, outcomes=tally.outcomes)
    await complete_all(fleet)
    say("done")
    await told(orders, "leave")


if __name__ == "__main__":
    run(hang)
