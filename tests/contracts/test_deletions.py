"""Whenever a device comes, it has the values that it would have had it always been there."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.node.node import to_append
from app.protocol.keep import Keep
from app.protocol.publication import Address, Publication, ToDevice, ToEveryone, ToOthers, ToUser
from app.streams.base import Appended, ReadLimits, Row, StreamLog
from app.streams.sql import StreamLimits
from tests.clocks import HandClock
from tests.contracts.stores import STORES, Store
from tests.effort import examples

USER = 1
TAB = "tab"
SENDERS = (1, 2)
ALL = ReadLimits(rows=10_000, bytes=1 << 30)
LIMITS = StreamLimits(retention_days=3, retention_rows=1000, max_keys_per_user=1000)

SETTINGS = settings(
    max_examples=examples(300),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Send:
    """A value, or its deletion."""

    to: Address
    key: str
    delete: bool


@dataclass(frozen=True)
class Wait:
    """Time that passes before the server looks for rows to remove."""

    days: float


TO_USER: list[Address] = [
    ToUser(USER),
    *(ToDevice(USER, device) for device in (1, 2, 3)),
    *(ToOthers(USER, device, TAB) for device in SENDERS),
    *(ToOthers(USER, device) for device in SENDERS),
]
sends = (
    st.builds(Send, st.sampled_from(TO_USER), st.sampled_from("ab"), st.booleans())
    | st.builds(Send, st.just(ToEveryone()), st.sampled_from("ab"), st.just(False))
    # What was deleted for everyone hides a user's own value only for as long as it is kept.
    | st.builds(Send, st.just(ToEveryone()), st.just("e"), st.booleans())
)
waits = st.builds(Wait, st.sampled_from([0.5, 1.6, 3.1]))
histories = st.lists(sends | sends | waits, max_size=12)

History = list[Send | Wait]


@dataclass
class Device:
    """A device with one tab, and the values that it knows by their keys.

    Which value it has of `others` keys only its user can tell: the newest one was sent to the other
    devices alone.
    """

    id: int
    type: str
    position: int = 0
    values: dict[str, int] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    def take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            key = str(row.key)
            if row.type != self.type:
                continue
            if row.is_for(self.id, TAB):
                self.others.discard(key)
                if row.deleted:
                    self.values.pop(key, None)
                else:
                    self.values[key] = int(row.payload)
            elif row.without_device == self.id:
                if not row.deleted:
                    self.others.add(key)
                else:
                    # Whoever is left out of a deletion knows of it already.
                    self.others.discard(key)
                    self.values.pop(key, None)

    def known(self, without: set[str]) -> dict[str, int]:
        return {key: value for key, value in self.values.items() if key not in without}

    async def come_back(self, streams: StreamLog) -> None:
        """Do as a client does: resume, or after a `reset` have the values of the snapshot alone."""
        page = await streams.read(USER, self.position, ALL)
        if self.position < page.floor:
            await self.begin(streams)
        else:
            self.take(page.rows)

    async def begin(self, streams: StreamLog) -> None:
        self.values = {}
        found = await streams.latest(USER, self.id, after=0, upto=streams.last, limits=ALL)
        assert not any(row.deleted for row in found.rows)
        self.take(found.rows)


@pytest.mark.parametrize("store", STORES, ids=lambda store: store.name)
def test_a_late_device_and_a_new_one_have_what_a_connected_one_has(
    store: Store, tmp_path: Path
) -> None:
    clock = HandClock(1_790_000_000.0)
    with asyncio.Runner() as runner:
        opened = runner.run(store.open(tmp_path, LIMITS, clock))

        @given(before=histories, meanwhile=histories)
        @SETTINGS
        def check(before: History, meanwhile: History) -> None:
            runner.run(play(opened.streams, clock, before, meanwhile))

        check()
        runner.run(opened.close())


async def play(streams: StreamLog, clock: HandClock, before: History, meanwhile: History) -> None:
    """Compare three devices that are there from the start with others that come at the end.

    All examples share a log, so each has a type of its own.
    """
    type_ = f"x.after_{streams.last}"
    always = [Device(device, type_, streams.last) for device in (1, 2, 3)]
    await send_all(streams, clock, type_, before, always)
    late = Device(3, type_, streams.last, dict(always[2].values))
    await send_all(streams, clock, type_, meanwhile, always)
    await late.come_back(streams)
    assert late.values == always[2].values
    for device in always:
        new = Device(device.id, type_)
        await new.begin(streams)
        assert new.known(device.others) == device.known(device.others)


async def send_all(
    streams: StreamLog, clock: HandClock, type_: str, history: History, connected: list[Device]
) -> None:
    for number, step in enumerate(history, streams.last):
        if isinstance(step, Wait):
            clock.now += step.days * 86_400
            while (await streams.prune()).more:
                pass
            continue
        keep = Keep("latest", step.key, delete=step.delete)
        append = to_append(Publication(step.to, type_, number, keep))
        [stored] = await streams.append([append])
        assert isinstance(stored, Appended)
        page = await streams.read(USER, stored.offset - 1, ALL)
        for device in connected:
            device.take(page.rows)
