"""A program of devices that each miss another number of messages, and all come back.

    python -m scripts.faults.storming PLAN

`do` of the plan: `most` (messages of each user), `seconds` (in which all come back), `by_cursor`
(every other device comes back without a position). Reports `ready`, waits for `go`, writes the
messages and reports `written`. Then the server restarts, and after `back` the devices come back.
Reports `caught` when the last has all it missed, and `done` when all have a message after that.
"""

import asyncio
import random
import time
from typing import Any

from scripts.faults.device import Device, Message
from scripts.faults.fleet import Fleet, commands, run, say, told
from scripts.faults.household import Household
from scripts.faults.writer import Habits, Writer

HABITS = Habits(window=16, to="user", nameless_share=0, abandoned_share=0)


class Sleeper:
    """Makes a device hang after so many messages, and notes when it has caught up."""

    def __init__(self, device: Device, takes: int, misses: int, rng: random.Random) -> None:
        self.began = 0.0
        """When it came back, in seconds of the monotonic clock, as `caught` is."""
        self.caught = 0.0
        self.complete = asyncio.Event()
        self._device = device
        self._left = takes if misses else -1
        self._rng = rng
        self._goal = 0
        device.took = self._took

    def come_back(self, back: asyncio.Event, seconds: float, *, by_cursor: bool, goal: int) -> None:
        """Have the device connect again within so many seconds after the event."""
        device = self._device
        device.by_cursor = by_cursor
        device.moved = self._moved
        self._goal = goal
        device.took = lambda message: None

        async def pause() -> None:
            if self.began:
                await asyncio.sleep(self._rng.uniform(0.01, 0.2))
                return
            await back.wait()
            await asyncio.sleep(self._rng.uniform(0, seconds))
            self.began = time.monotonic()

        device.pause = pause

    def begin(self, *, hung: bool) -> None:
        """Give the server a first cursor, and hang at once if `hung`."""
        if hung:
            self.hang()
        else:
            self._device.acknowledge()

    def hang(self) -> None:
        """Acknowledge what came, and drop all messages that follow on this connection."""
        self._device.acknowledge()
        if self._device.link is not None:
            self._device.link.deaf = True

    def _took(self, _message: Message) -> None:
        self._left -= 1
        if self._left == 0:
            self.hang()

    def _moved(self, device: Device) -> None:
        at = device.position
        if self.began and at is not None and at.offset >= self._goal and not self.caught:
            self.caught = time.monotonic()
            self.complete.set()


def missed(most: int, place: int, rng: random.Random) -> int:
    """Return how many messages a device misses: from none to all, mostly few."""
    return 0 if place == 0 else int((most + 1) * rng.random() ** 3)


async def _write(users: dict[int, Writer]) -> None:
    """Write the messages of each user, and wait for their acknowledgement."""
    done = {user: asyncio.Event() for user in users}
    for user, writer in users.items():
        event = done[user]

        def progressed(writer: Writer = writer, event: asyncio.Event = event) -> None:
            if writer.done:
                event.set()

        writer.progressed = progressed
        writer.begin()
    for event in done.values():
        await event.wait()


def _seconds(sleepers: list[Sleeper]) -> dict[str, Any]:
    taken = sorted(one.caught - one.began for one in sleepers)
    return {
        "at": max(one.caught for one in sleepers),
        "last_back": max(one.began for one in sleepers),
        "p50": taken[len(taken) // 2],
        "p99": taken[int(len(taken) * 0.99)],
    }


async def storm(fleet: Fleet) -> None:
    """Write, hang, come back, catch up."""
    do, rng = fleet.plan.do, fleet.rng
    writers: dict[int, Writer] = {}
    sleepers: list[Sleeper] = []
    amounts = []
    for user, devices in fleet.users.items():
        writers[user] = Writer(devices[0], [], do["most"], HABITS, random.Random(rng.random()))
        devices[0].author = writers[user]
        for place, device in enumerate(devices):
            amounts.append(missed(do["most"], place, rng))
            takes = do["most"] - amounts[-1]
            dice = random.Random(rng.random())
            sleepers.append(Sleeper(device, takes, amounts[-1], dice))
    await fleet.join()
    for sleeper, amount in zip(sleepers, amounts, strict=True):
        sleeper.begin(hung=amount == do["most"])
    say("ready")
    orders = await commands()
    await told(orders, "go")
    await _write(writers)
    back = asyncio.Event()
    for place, (sleeper, device) in enumerate(zip(sleepers, fleet.devices, strict=True)):
        sleeper.come_back(
            back,
            do["seconds"],
            by_cursor=do["by_cursor"] and place % 2 == 1,
            goal=writers[device.account.user].newest,
        )
    say("written", missed=sum(amounts))
    await told(orders, "back")
    back.set()
    for sleeper in sleepers:
        await sleeper.complete.wait()
    say("caught", **_seconds(sleepers))
    households = [Household(devices, [writers[user]]) for user, devices in fleet.users.items()]
    for household in households:
        household.progress()
    for household in households:
        await household.complete.wait()
    say("done")


if __name__ == "__main__":
    run(storm)
