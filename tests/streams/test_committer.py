"""Which appends go into one transaction, and what is done while it is written."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from memory_log import MemoryLog

from app.base.errors import Problem, StorageUnavailable
from app.base.metrics import Metrics
from app.streams.base import Append, Appended, Refusal, Refused, Row
from app.streams.committer import MAX_BATCH, SMALL_BATCH, Committer, Stored

NOTE = Append(1, "note.x", b"1")
WRONG = Append(1, "note.x", b"2")


class Disk(MemoryLog):
    """A log that notes the size of each transaction, and gives each one of its `turns`."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.turns = asyncio.Semaphore(1_000_000)
        self.outcomes: list[Appended | Refused] = []
        """What it answers to the next batch, if anything is here."""

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        self.sizes.append(len(appends))
        if WRONG in appends:
            raise TypeError
        await self.turns.acquire()
        if self.outcomes:
            answered, self.outcomes = self.outcomes, []
            return answered
        return await super().append(appends)


class Receivers:
    """The other end of the delivery; `broken` makes it fail, `ready` lets it go on."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.broken = False
        self.doubts = 0
        self.floors: dict[int, int] = {}
        self.ready = asyncio.Event()
        self.ready.set()

    async def deliver(self, rows: Sequence[Row]) -> list[list[int]]:
        await self.ready.wait()
        if self.broken:
            raise KeyError
        self.offsets += [row.offset for row in rows]
        return [[7] for _ in rows]

    def doubt(self) -> None:
        self.doubts += 1

    def raise_floors(self, floors: Mapping[int, int]) -> None:
        assert self.ready.is_set()
        self.floors |= floors


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def receivers() -> Receivers:
    return Receivers()


@pytest.fixture
async def committer(disk: Disk, receivers: Receivers) -> AsyncIterator[Committer]:
    metrics = Metrics()
    committer = Committer(disk, receivers.deliver, receivers.doubt, receivers.raise_floors, metrics)
    running = asyncio.create_task(committer.run())
    yield committer
    running.cancel()
    await asyncio.wait([running])


class Sender:
    """A client that sends its next message when the one before it is answered."""

    def __init__(self, committer: Committer, times: int) -> None:
        self._committer = committer
        self._left = times
        self.done = asyncio.Event()
        self.offsets: list[int] = []

    def send(self, outcome: Stored | Problem | None = None) -> None:
        if isinstance(outcome, Stored):
            self.offsets.append(outcome.offset)
        if self._left:
            self._left -= 1
            self._committer.submit(NOTE, self.send)
        else:
            self.done.set()


async def test_senders_in_step_are_spread_over_two_transactions(
    committer: Committer, disk: Disk
) -> None:
    senders = [Sender(committer, 40) for _ in range(64)]
    disk.turns = asyncio.Semaphore(0)
    for sender in senders[:60]:
        sender.send()
    while not disk.sizes:  # noqa: ASYNC110
        await asyncio.sleep(0)
    for sender in senders[60:]:
        sender.send()
    disk.turns.release()
    disk.turns = asyncio.Semaphore(1_000_000)
    for sender in senders:
        await sender.done.wait()
    assert set(disk.sizes[4:-4]) == {32}
    assert sorted(one for sender in senders for one in sender.offsets) == list(range(1, 2561))


async def test_few_are_never_spread(committer: Committer, disk: Disk) -> None:
    for _ in range(SMALL_BATCH):
        committer.submit(NOTE, lambda _: None)
    await committer.drain()
    assert disk.sizes == [SMALL_BATCH]


async def test_many_at_once_are_written_in_few_transactions(
    committer: Committer, disk: Disk
) -> None:
    for _ in range(10 * MAX_BATCH):
        committer.submit(NOTE, lambda _: None)
    await committer.drain()
    assert max(disk.sizes) == MAX_BATCH
    # The queue is halved for each of the last batches, down to a small one.
    assert len(disk.sizes) <= 10 + (MAX_BATCH // SMALL_BATCH).bit_length()


async def test_a_batch_is_delivered_while_the_next_one_is_written(
    committer: Committer, disk: Disk, receivers: Receivers
) -> None:
    first, second = Sender(committer, 1), Sender(committer, 1)
    disk.turns = asyncio.Semaphore(0)
    receivers.ready.clear()
    first.send()
    while not disk.sizes:  # noqa: ASYNC110
        await asyncio.sleep(0)
    second.send()
    disk.turns.release()
    while len(disk.sizes) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert receivers.offsets == []
    receivers.ready.set()
    await first.done.wait()
    assert receivers.offsets == [1]
    disk.turns.release()
    await second.done.wait()
    assert receivers.offsets == [1, 2]


async def test_a_delivery_that_fails_is_answered_and_in_doubt(
    committer: Committer, receivers: Receivers
) -> None:
    receivers.broken = True
    outcomes: list[Stored | Problem] = []
    for _ in range(2):
        committer.submit(NOTE, outcomes.append)
    await committer.drain()
    assert [(one.offset, one.delivered) for one in outcomes if isinstance(one, Stored)] == [
        (1, []),
        (2, []),
    ]
    assert receivers.doubts == 1


class Blind(Disk):
    """A log whose first append is written although it fails, and which cannot tell so then."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    async def append(self, appends: Sequence[Append]) -> list[Appended | Refused]:
        self.last = max(self.seen, self.last)
        outcomes = await super().append(appends)
        if not self.seen:
            self.seen, self.last = self.last, 0
            raise StorageUnavailable
        return outcomes


async def test_repeats_of_what_a_failed_append_has_written_bring_it_to_everybody() -> None:
    receivers = Receivers()
    committer = Committer(
        Blind(), receivers.deliver, receivers.doubt, receivers.raise_floors, Metrics()
    )
    named = Append(1, "note.x", b"1", owner="device:1", message_id="a")
    outcomes: list[Stored | Problem] = []
    for _ in range(2):
        committer.submit(named, outcomes.append)
        await committer.drain()
    assert [type(one) for one in outcomes] == [StorageUnavailable, Stored]
    assert isinstance(outcomes[1], Stored)
    assert outcomes[1].duplicate
    assert receivers.doubts == 1


async def test_exclusive_need_not_wait_for_every_sender(committer: Committer, disk: Disk) -> None:
    senders = [Sender(committer, 100) for _ in range(64)]
    for sender in senders:
        sender.send()
    while not disk.sizes:  # noqa: ASYNC110
        await asyncio.sleep(0)
    async with committer.exclusive():
        before = len(disk.sizes)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(disk.sizes) == before
    assert not senders[0].done.is_set()
    for sender in senders:
        await sender.done.wait()


async def test_draining_waits_for_a_batch_on_its_way_to_disk(
    committer: Committer, disk: Disk
) -> None:
    sender = Sender(committer, 1)
    disk.turns = asyncio.Semaphore(0)
    sender.send()
    while not disk.sizes:  # noqa: ASYNC110
        await asyncio.sleep(0)
    draining = asyncio.create_task(committer.drain())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not draining.done()
    disk.turns.release()
    await draining
    assert sender.offsets == [1]


async def test_when_the_storage_fails_all_waiting_senders_hear_of_it_soon(
    committer: Committer, disk: Disk
) -> None:
    disk.broken = True
    outcomes: list[Stored | Problem] = []
    for _ in range(MAX_BATCH):
        committer.submit(NOTE, outcomes.append)
    await committer.drain()
    assert len(outcomes) == MAX_BATCH
    assert not any(isinstance(one, Stored) for one in outcomes)
    assert disk.sizes == [MAX_BATCH // 2, MAX_BATCH // 2]


async def test_an_append_that_cannot_be_stored_is_found_soon_and_harms_no_other(
    committer: Committer, disk: Disk, receivers: Receivers
) -> None:
    outcomes: dict[int, Stored | Problem] = {}
    for number in range(200):
        append = WRONG if number == 77 else NOTE
        committer.submit(append, lambda one, number=number: outcomes.update({number: one}))
    await committer.drain()
    [(number, refusal)] = [one for one in outcomes.items() if isinstance(one[1], Problem)]
    assert (number, refusal.code) == (77, "storage_unavailable")
    stored = [outcomes[number] for number in range(200) if number != 77]
    assert [one.offset for one in stored if isinstance(one, Stored)] == list(range(1, 200))
    assert receivers.offsets == list(range(1, 200))
    assert len(disk.sizes) < 25


async def test_deletions_of_the_log_itself_are_delivered_and_floors_raised_before(
    committer: Committer, disk: Disk, receivers: Receivers
) -> None:
    deletion = Row(1, 1, "note.x", b"null", key="k", deleted=1)
    disk.outcomes = [
        Appended(2, removals=(deletion,)),
        Refused("forbidden"),
        Appended(2, duplicate=True),
        Appended(3, floor=1),
    ]
    outcomes: list[Any] = []
    for _ in range(4):
        committer.submit(NOTE, outcomes.append)
    await committer.drain()
    assert receivers.offsets == [1, 2, 3]
    assert (receivers.floors, receivers.doubts) == ({1: 1}, 0)
    assert outcomes[1].status == 403
    assert [one.offset for one in outcomes if isinstance(one, Stored)] == [2, 2, 3]


@pytest.mark.parametrize("source_device", [0, 7])
async def test_a_refusal_tells_whose_keys_are_too_many_and_only_then_speaks_of_keys(
    committer: Committer, disk: Disk, source_device: int
) -> None:
    refusals: list[Refusal] = ["too_many_keys", "forbidden", "too_many_ids", "id_conflict"]
    disk.outcomes = [Refused(code) for code in refusals]
    outcomes: list[Any] = []
    for _ in refusals:
        committer.submit(replace(NOTE, source_device=source_device), outcomes.append)
    await committer.drain()
    assert [one.code for one in outcomes] == refusals
    assert ("devices" in outcomes[0].detail) is (source_device != 0)
    assert ["keys" in one.detail for one in outcomes] == [True, False, False, False]


async def test_a_refusal_that_ends_tells_when(committer: Committer, disk: Disk) -> None:
    disk.outcomes = [Refused("too_many_ids", retry_after_ms=90_000), Refused("too_many_ids")]
    outcomes: list[Any] = []
    for _ in range(2):
        committer.submit(NOTE, outcomes.append)
    await committer.drain()
    assert [one.retry_after_ms for one in outcomes] == [90_000, None]
    assert outcomes[0].detail.endswith("Send it again in 2 minutes.")
    assert "minutes" not in outcomes[1].detail
