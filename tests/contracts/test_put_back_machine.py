"""Whatever copy of its folder a log is put back to, no device is resumed over a gap."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.protocol.position import Position, resume
from app.streams.base import Append, ReadLimits
from app.streams.generation import GUARD_NAME
from app.streams.sql import StreamLimits
from tests.clocks import HandClock
from tests.contracts.stores import STORES, Opened, Store
from tests.effort import examples

T = TypeVar("T")

LIMITS = StreamLimits(retention_days=3, retention_rows=1000, max_keys_per_user=3)
ALL_ROWS = ReadLimits(rows=10_000, bytes=1 << 30)

SETTINGS = settings(
    max_examples=examples(40),
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Device:
    """What a device has got, and its position: None before the first visit."""

    position: Position | None = None
    seen: dict[int, bytes] = field(default_factory=dict)
    live: bool = False


class Machine(RuleBasedStateMachine):
    """A log, copies of its folder, and devices that come and go; `store` is the implementation."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "0"
        self.path.mkdir()
        self.copies: list[Path] = []
        self.backups: list[Path] = []
        self.devices = [Device() for _ in range(3)]
        self.number = 0
        self.openings = 0
        self.opened = self.run(self.open())

    def teardown(self) -> None:
        for device in self.devices:
            device.live = False
            self.visit(device, share=4)
        self.run(self.opened.close())
        assert self.store.is_sound(self.path)
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> Opened:
        return await self.store.open(self.path, LIMITS, HandClock(1_790_000_000.0))

    def rows(self) -> dict[int, bytes]:
        page = self.run(self.opened.streams.read(1, 0, ALL_ROWS))
        return {row.offset: row.payload for row in page.rows}

    def reach(self, device: Device, offset: int) -> None:
        device.seen |= {o: row for o, row in self.rows().items() if o <= offset}
        device.position = Position(self.opened.streams.numbering.text, offset)

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            note = Append(1, "note.text", str(self.number).encode())
            self.run(self.opened.streams.append([note]))
        for device in self.devices:
            if device.live:
                self.reach(device, self.opened.streams.last)

    @rule(which=st.integers(0, 2), share=st.sampled_from([0, 1, 2, 3, 4, 4, 4]))
    def come_or_go(self, which: int, share: int) -> None:
        device = self.devices[which]
        if device.live:
            device.live = False
        else:
            self.visit(device, share)

    def visit(self, device: Device, share: int) -> None:
        """Connect; a `share` in quarters of what was missed is handed over."""
        streams = self.opened.streams
        last = streams.last
        start = resume(device.position, streams.numbering, head=last, floor=0, last=last)
        if start.outcome == "resumed":
            rows = {o: row for o, row in self.rows().items() if o <= start.offset}
            assert device.seen == rows, "resumed over a gap"
        else:
            put_back = self.copies or self.backups
            assert start.outcome == "live" or put_back, "nobody is reset without a reason"
            device.seen.clear()
        self.reach(device, start.offset + (last - start.offset) * share // 4)
        device.live = share == 4

    @rule()
    @precondition(lambda self: len(self.copies) < 4)
    def copy_running(self) -> None:
        """Copy the folder as a snapshot of the volume of a running server does."""
        self.store.image(self.path, self.next_copy())

    @rule()
    @precondition(lambda self: len(self.copies) < 4 and self.openings < 8)
    def copy_stopped(self) -> None:
        self.stop()
        shutil.copytree(self.path, self.next_copy())
        self.start()

    @rule()
    @precondition(lambda self: self.openings < 8)
    def restart(self) -> None:
        self.stop()
        self.start()

    @rule(which=st.integers(0, 3))
    @precondition(lambda self: self.copies and self.openings < 8)
    def put_back_whole(self, which: int) -> None:
        self.stop()
        shutil.rmtree(self.path)
        shutil.copytree(self.copies[which % len(self.copies)], self.path)
        self.start()

    @rule(which=st.integers(0, 3))
    @precondition(lambda self: self.copies and self.openings < 8)
    def put_back_without_the_guard(self, which: int) -> None:
        self.stop()
        guard = (self.path / GUARD_NAME).read_bytes()
        shutil.rmtree(self.path)
        shutil.copytree(self.copies[which % len(self.copies)], self.path)
        (self.path / GUARD_NAME).write_bytes(guard)
        self.start()

    @rule()
    @precondition(lambda self: len(self.backups) < 4)
    def back_up(self) -> None:
        self.backups.append(Path(self.folder.name) / f"backup-{len(self.backups)}")
        self.store.back_up(self.path, self.backups[-1])

    @rule(which=st.integers(0, 3))
    @precondition(lambda self: self.backups and self.openings < 8)
    def restore_a_backup(self, which: int) -> None:
        self.stop()
        epoch = self.opened.streams.epoch
        self.store.restore(self.backups[which % len(self.backups)], self.path)
        self.start()
        if not self.copies:
            assert self.opened.streams.epoch == epoch

    def next_copy(self) -> Path:
        self.copies.append(Path(self.folder.name) / f"copy-{len(self.copies)}")
        return self.copies[-1]

    def stop(self) -> None:
        for device in self.devices:
            device.live = False
        self.run(self.opened.close())

    def start(self) -> None:
        self.openings += 1
        self.opened = self.run(self.open())


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_no_device_is_resumed_over_a_gap_whatever_is_put_back(store: Store) -> None:
    machine = type("PutBackMachine", (Machine,), {"store": store})
    run_state_machine_as_test(machine, settings=SETTINGS)
