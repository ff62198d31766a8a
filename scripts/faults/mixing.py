"""A program of devices that write all the time while connections are cut and readers stop.

    python -m scripts.faults.mixing PLAN

`do` of the plan: `seconds` (of writing), `per_second` (messages of all devices), `cuts` and
`stalls` (how many a minute) and `stall_seconds` (the longest time for which a device reads
nothing). Reports `ready`, waits for `go`, reports `answered` with the count as it grows, `written`
with how many cuts and stalls there were, and `done` when every device has everything.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from scripts.faults.device import Device
from scripts.faults.fleet import Fleet, commands, reporting, run, say, told
from scripts.faults.household import Household
from scripts.faults.writer import Habits
from scripts.faults.writing import writers_of

WITHOUT_END: Final = 10**9
"""Messages of all devices together: more than a trial has time for."""

LOOK_SECONDS: Final = 0.05


class Trouble:
    """Cuts connections and stops readers at random instants."""

    def __init__(self, fleet: Fleet) -> None:
        self.cuts = 0
        self.stalls = 0
        self._devices = fleet.devices
        self._do = fleet.plan.do
        self._rng = random.Random(fleet.rng.random())
        self._stalled: set[Device] = set()

    async def make(self) -> None:
        """Make trouble until the time is over; then everybody reads again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._often(self._do["cuts"], self._cut))
            tasks.create_task(self._often(self._do["stalls"], self._stall))
        for device in list(self._stalled):
            self._read_again(device)

    async def _often(self, per_minute: float, trouble: Callable[[], bool]) -> None:
        """Make this trouble again and again; time in which no device can have it does not count."""
        left: float = self._do["seconds"]
        while per_minute and (pause := self._rng.expovariate(per_minute / 60)) < left:
            await asyncio.sleep(pause)
            left -= pause
            while not trouble():  # noqa: ASYNC110 (nothing announces it)
                await asyncio.sleep(LOOK_SECONDS)
        await asyncio.sleep(left)

    def _cut(self) -> bool:
        """Cut a connection; tell whether there was any."""
        links = [device.link for device in self._devices if device.link is not None]
        if links:
            self.cuts += 1
            self._rng.choice(links).abort()
        return bool(links)

    def _stall(self) -> bool:
        """Have a device read nothing for a while; tell whether any was connected and read."""
        others = [device for device in self._devices if device not in self._stalled]
        reading = [(device, device.link) for device in others if device.link is not None]
        if not reading:
            return False
        self.stalls += 1
        device, link = self._rng.choice(reading)
        self._stalled.add(device)
        link.stall(True)
        seconds = self._rng.uniform(0, self._do["stall_seconds"])
        asyncio.get_running_loop().call_later(seconds, self._read_again, device)
        return True

    def _read_again(self, device: Device) -> None:
        self._stalled.discard(device)
        # It may have another connection by now, which reads.
        if device.link is not None:
            device.link.stall(False)


async def mix(fleet: Fleet) -> None:
    """Write under trouble for the time of the plan, then wait until all have everything."""
    do = fleet.plan.do
    habits = Habits(window=1, pause=len(fleet.devices) / do["per_second"])
    by_user = writers_of(fleet, WITHOUT_END, habits)
    households = [Household(fleet.users[user], made) for user, made in by_user.items()]
    writers = [writer for made in by_user.values() for writer in made]
    trouble = Trouble(fleet)
    await fleet.join()
    say("ready")
    await told(await commands(), "go")
    async with reporting("answered", lambda: sum(writer.answers for writer in writers)):
        for writer in writers:
            writer.begin()
        await trouble.make()
        for writer in writers:
            writer.write_no_more()
        say("written", cuts=trouble.cuts, stalls=trouble.stalls)
        for household in households:
            household.progress()
        for household in households:
            await household.complete.wait()
    say("done")


if __name__ == "__main__":
    run(mix)
