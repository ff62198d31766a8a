"""The devices of one user: when the last message of all is there, each of them has everything."""

import asyncio

from scripts.faults.device import Device
from scripts.faults.writer import Writer


class Household:
    """The devices of one user, and the last of their messages."""

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
        """Have the last message written once all others are acknowledged."""
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
