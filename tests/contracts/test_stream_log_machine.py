"""A StreamLog answers what the model answers, whatever is done to it in whatever order."""

import asyncio
import tempfile
from collections.abc import Coroutine
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.protocol.position import Position
from app.streams.base import Append, Cursor, ReadLimits
from app.streams.sql import StreamLimits
from tests.clocks import HandClock
from tests.contracts.model import Model, Outcome, alive, is_value
from tests.contracts.stores import STORES, Opened, Store
from tests.effort import examples

T = TypeVar("T")

LIMITS = StreamLimits(
    retention_days=3, retention_rows=3, max_keys_per_user=3, ids_per_user=2, ids_per_key=1
)
USERS = (0, 1, 2)
DEVICES = {11: 1, 12: 1, 21: 2}
ALL_ROWS = ReadLimits(rows=10_000, bytes=1 << 30)

SETTINGS = settings(
    max_examples=examples(30),
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

KEYS = ("a", "b", "c", "d\u0000é")

users = st.sampled_from(USERS)
messages = st.builds(
    Append,
    user_id=users,
    type=st.sampled_from(["note.text", "note.state"]),
    payload=st.sampled_from([b"1", b'"' + b"x" * 98 + b'"', b"null"]),
    target_device=st.sampled_from([0, 0, 11]),
    without_device=st.sampled_from([0, 0, 12]),
    without_instance=st.sampled_from(["", "tab"]),
    source_device=st.sampled_from([0, 12]),
    source_instance=st.sampled_from(["", "tab"]),
    key=st.sampled_from([None, None, *KEYS]),
    ttl=st.sampled_from([None, None, 10, 200_000]),
    message_id=st.sampled_from([None, None, None, "m1", "m2", "m3"]),
    digest=st.sampled_from([b"1" * 32, b"1" * 32, b"2" * 32]),
)
deletions = st.builds(
    replace,
    messages,
    key=st.sampled_from(KEYS),
    payload=st.just(b"null"),
    ttl=st.none(),
    deleted=st.just(True),
)
# Two devices of one user, a key, and the operator, who may add as many ids as there are.
senders = st.sampled_from(
    [("device:11", "user:1"), ("device:12", "user:1"), ("key:3", "key:3"), ("operator", "operator")]
)
sent = st.builds(
    lambda append, by: replace(append, owner=by[0], sender=by[1]),
    by=senders,
    append=messages | deletions,
)
batches = st.lists(sent, min_size=1, max_size=8)
read_limits = st.builds(
    ReadLimits,
    rows=st.sampled_from([1, 2, 3, 100]),
    bytes=st.sampled_from([1, 99, 100, 101, 10_000]),
)
# Just below and above a ttl, a day and the retention time; never backwards.
pauses = st.sampled_from(
    [1, 9.999, 10, 10.001, 3600, 7200, 82_800, 86_400, 86_401, 199_999, 259_200.001]
)


class Machine(RuleBasedStateMachine):
    """A log in a folder, and a model of it; `store` is the implementation."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "0"
        self.path.mkdir()
        self.openings = 0
        self.clock = HandClock(1_790_000_000.0)
        self.model = Model(LIMITS)
        self.opened = self.run(self.open())
        self.epoch = self.opened.streams.epoch

    def teardown(self) -> None:
        self.run(self.opened.close())
        assert self.store.is_sound(self.path)
        self.runner.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def open(self) -> Opened:
        return await self.store.open(self.path, LIMITS, self.clock)

    @property
    def now(self) -> int:
        return int(self.clock.now * 1000)

    def take(self, batch: list[Append], outcomes: list[Outcome]) -> None:
        for append, outcome in zip(batch, outcomes, strict=True):
            self.model.append(append, outcome, self.now)

    @initialize(batch=batches)
    def begin(self, batch: list[Append]) -> None:
        assert self.opened.streams.last == 0
        self.append(batch)

    @rule(batch=batches)
    def append(self, batch: list[Append]) -> None:
        self.take(batch, self.run(self.opened.streams.append(batch)))

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(user=users, back=st.integers(0, 12), limits=read_limits)
    def read(self, user: int, back: int, limits: ReadLimits) -> None:
        after = max(0, self.model.last + 1 - back)
        found = self.run(self.opened.streams.read(user, after, limits))
        assert found == self.model.read(user, after, limits, self.now)

    @rule(
        device=st.sampled_from(sorted(DEVICES)),
        back=st.integers(0, 12),
        size=st.integers(0, 12),
        limits=read_limits,
    )
    def latest(self, device: int, back: int, size: int, limits: ReadLimits) -> None:
        user, after = DEVICES[device], max(0, self.model.last - back)
        upto = after + size
        read = self.opened.streams.latest(user, device, after=after, upto=upto, limits=limits)
        assert self.run(read) == self.model.latest(user, device, after, upto, limits, self.now)

    @rule()
    def prune(self) -> None:
        raised = self.run(self.prune_all())
        assert raised == self.model.prune(self.now)

    async def prune_all(self) -> dict[int, int]:
        raised: dict[int, int] = {}
        for _ in range(100):
            step = await self.opened.streams.prune()
            for user_id, floor in step.floors.items():
                raised[user_id] = max(floor, raised.get(user_id, 0))
            if not step.more:
                return raised
        raise AssertionError("pruning comes to an end")

    @rule(device=st.sampled_from(sorted(DEVICES)), back=st.integers(0, 12))
    def acknowledge(self, device: int, back: int) -> None:
        position = Position(self.epoch, max(0, self.model.last - back))
        cursor = Cursor(DEVICES[device], position)
        self.run(self.opened.streams.save_cursors({device: cursor}))
        known = self.model.cursors.get(device)
        if known is None or known.epoch != self.epoch or known.offset < position.offset:
            self.model.cursors[device] = position

    @rule()
    def reset(self) -> None:
        before, self.epoch = self.epoch, self.run(self.opened.streams.reset())
        assert self.epoch != before

    # Opening takes 50 ms, a hundred times an append.
    @rule()
    @precondition(lambda self: self.openings < 4)
    def restart(self) -> None:
        self.openings += 1
        self.model.passed.clear()
        self.run(self.opened.close())
        self.opened = self.run(self.open())

    @rule(batch=batches, steps=st.integers(0, 12))
    @precondition(lambda self: self.openings < 4)
    def crash(self, batch: list[Append], steps: int) -> None:
        """Lose power with a batch under way, and go on with what is on disk."""
        before = deepcopy(self.model)
        target = Path(self.folder.name) / str(self.openings + 1)
        outcomes, told = self.run(self.lose_power(batch, steps, target))
        self.run(self.opened.close())
        self.openings, self.path = self.openings + 1, target
        self.opened = self.run(self.open())
        self.take(batch, outcomes)
        self.model.passed.clear()
        before.passed.clear()
        if self.kept() != self.offsets(self.model):
            assert not told, "what was acknowledged is there"
            assert self.kept() == self.offsets(before), "a batch is there as a whole or not at all"
            self.model = before

    async def lose_power(
        self, batch: list[Append], steps: int, target: Path
    ) -> tuple[list[Outcome], bool]:
        task = asyncio.create_task(self.opened.streams.append(batch))
        for _ in range(steps):
            await asyncio.sleep(0)
        told = task.done()
        self.store.image(self.path, target)
        return await task, told

    def kept(self) -> tuple[int, dict[int, list[int]]]:
        streams = self.opened.streams
        found = {user: self.run(streams.read(user, 0, ALL_ROWS)).rows for user in USERS}
        return streams.last, {user: [row.offset for row in rows] for user, rows in found.items()}

    def offsets(self, model: Model) -> tuple[int, dict[int, list[int]]]:
        found = {user: model.stream(user, self.now) for user in USERS}
        return model.last, {user: [row.offset for row in rows] for user, rows in found.items()}

    @invariant()
    def numbering(self) -> None:
        assert (self.opened.streams.epoch, self.opened.streams.last) == (
            self.epoch,
            self.model.last,
        )

    @invariant()
    def standings(self) -> None:
        asked = [(user, device) for device, user in DEVICES.items()]
        found = self.run(self.opened.streams.standings(asked))
        for (user, device), standing in zip(asked, found, strict=True):
            mine = [r for r in self.model.rows.values() if r.user_id in (user, 0)]
            assert all(row.offset <= standing.head for row in mine)
            assert self.model.floor(user) <= standing.head <= self.model.last
            assert standing.floor == self.model.floor(user)
            assert standing.cursor == self.model.cursors.get(device)
            values = [row for row in mine if is_value(row)]
            assert any(alive(row, self.now) for row in values) <= standing.keys <= bool(values)


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_log_says_what_the_model_says(store: Store) -> None:
    machine = type("StoreMachine", (Machine,), {"store": store})
    run_state_machine_as_test(machine, settings=SETTINGS)
