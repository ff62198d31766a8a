"""A program of devices that write and read while the database under them is put back.

    python -m scripts.faults.restoring PLAN

Reports `ready`, and `answered` with the count as it grows. It takes these commands, and reports
`noted` with their number after each: `copying NAME`, `copied NAME`, and `put back NAME`, for which
it waits until no device is connected; they are notes in the journal. After `finish` it writes
nothing new, and reports `done` when every device has the last message of its user.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from scripts.faults.fleet import Fleet, commands, reporting, run, say
from scripts.faults.household import Household
from scripts.faults.journal import Copied, Copying, Journal, PutBack
from scripts.faults.writer import Habits, Writer

ENDLESS: Final = 1 << 40
"""Messages that no writer comes to the end of."""

AWAY_SHARE: Final = 0.4
AWAY_ANSWERS: Final = 800
"""Half of the devices may stay away while so many messages of others are answered: until the
database has passed their position again, which may be after several put-backs."""


class Absences:
    """How long devices stay away when they have lost their connection."""

    def __init__(self, answered: Callable[[], int]) -> None:
        self.over = False
        """Whether everybody comes back now."""
        self._answered = answered

    def of(self, rng: random.Random, *, long: bool) -> Callable[[], Awaitable[None]]:
        """Return what a device awaits before it comes back."""

        async def pause() -> None:
            await asyncio.sleep(rng.uniform(0.01, 0.3))
            if long and rng.random() < AWAY_SHARE:
                until = self._answered() + rng.randint(0, AWAY_ANSWERS)
                while self._answered() < until and not self.over:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        return pause


async def _note(line: str, journal: Journal, fleet: Fleet) -> None:
    what, _, name = line.rpartition(" ")
    if what == "put back":
        while any(device.link is not None for device in fleet.devices):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        journal.write(PutBack(name))
    else:
        journal.write(Copying(name) if what == "copying" else Copied(name))


def _writers(fleet: Fleet) -> dict[int, list[Writer]]:
    """Give every device a writer, and return those of each user."""
    writers: dict[int, list[Writer]] = {user: [] for user in fleet.users}
    for device in fleet.devices:
        colleagues = [one.account.device for one in fleet.users[device.account.user]]
        rng = random.Random(fleet.rng.random())
        writer = Writer(device, colleagues, ENDLESS, Habits(window=2), rng)
        device.author = writer
        writers[device.account.user].append(writer)
    return writers


async def put_back(fleet: Fleet) -> None:
    """Write and read, and note what happens to the database, until all devices have everything."""
    writers = _writers(fleet)
    everybody = [writer for some in writers.values() for writer in some]

    def answered() -> int:
        return sum(writer.answers for writer in everybody)

    absences = Absences(answered)
    for place, device in enumerate(fleet.devices):
        rng = random.Random(fleet.rng.random())
        device.pause = absences.of(rng, long=place % 2 == 1)
    await fleet.join()
    say("ready")
    reader = await commands()
    async with reporting("answered", answered):
        for writer in everybody:
            writer.begin()
        noted = 0
        while (line := (await reader.readline()).decode().strip()) != "finish":
            await _note(line, fleet.devices[0].journal, fleet)
            noted += 1
            say("noted", count=noted)
        absences.over = True
        for writer in everybody:
            writer.write_no_more()
        households = [Household(fleet.users[user], some) for user, some in writers.items()]
        for household in households:
            household.progress()
        for household in households:
            await household.complete.wait()
    say("done")


if __name__ == "__main__":
    run(put_back)
