"""The devices of one user, which have everything once each has the user's last message."""

import asyncio
import random

from scripts.faults.device import Device
from scripts.faults.fleet import Fleet
from scripts.faults.writer import Habits, Writer


class Household:
    """The devices of one user; `complete` is set once all have their last message."""

    def __init__(self, devices: list[Device], writers: list[Writer]) -> None:
        self.complete = asyncio.Event()
        self._devices = devices
        self._writers = writers
        self._asked_for_last = False
        for device in devices:
            device.moved = self._moved
        for writer in writers:
            writer.progressed = self.progress

    def progress(self) -> None:
        """Have the last message written, if all others are acknowledged."""
        if not all(writer.done for writer in self._writers):
            return
        if not self._asked_for_last:
            self._asked_for_last = True
            self._writers[0].write_last()
        elif self._writers[0].last_offset is not None:
            for device in self._devices:
                self._moved(device)

    def _moved(self, device: Device) -> None:
        last = self._writers[0].last_offset
        if last is None or device.position is None or device.position.offset < last:
            return
        device.finish()
        if all(one.finished for one in self._devices):
            self.complete.set()


async def complete_all(fleet: Fleet) -> None:
    """Have one more message of each user reach everybody."""
    households = []
    for devices in fleet.users.values():
        writer = Writer(devices[0], [], 0, Habits(), random.Random(fleet.rng.random()))
        devices[0].author = writer
        households.append(Household(devices, [writer]))
    for household in households:
        household.progress()
    for household in households:
        await household.complete.wait()
