"""Users take turns at reading, however many connections each has."""

import asyncio
from collections import Counter
from functools import partial
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from app.node.turns import Slices, Turns

PLACES = 2
USERS = 2


class Reader:
    """One read, which waits for its turn and lasts until it is told to end."""

    def __init__(self, turns: Turns, user_id: int) -> None:
        self.user_id = user_id
        self.has_place = False
        self._end = asyncio.Event()
        self._task = asyncio.create_task(self._read(turns))

    async def end(self) -> None:
        """End the read."""
        self._end.set()
        await self._task

    async def cancel(self) -> None:
        """Give it up, whether or not it has its place."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self, turns: Turns) -> None:
        async with turns.of(self.user_id):
            self.has_place = True
            try:
                await self._end.wait()
            finally:
                self.has_place = False


def holding(readers: list[Reader]) -> list[Reader]:
    """Return those that have a place."""
    return [reader for reader in readers if reader.has_place]


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_somebody_with_one_connection_waits_for_one_read_of_a_user_with_many() -> None:
    turns = Turns(1)
    first, *others = [Reader(turns, user_id=1) for _ in range(64)]
    await settled()
    late = Reader(turns, user_id=2)
    await first.end()
    await settled()
    # It was the turn of the first user, who waited before.
    assert holding([late, *others]) == [others[0]]
    await others[0].end()
    await settled()
    assert holding([late, *others]) == [late]
    for reader in (late, *others):
        await reader.cancel()


async def test_a_place_that_comes_with_the_cancellation_is_handed_on() -> None:
    turns = Turns(1)
    async with turns.of(1):
        cancelled, next_one = (Reader(turns, user_id) for user_id in (2, 3))
        await settled()
    # Now the place is given away, and who gets it has not run yet.
    await cancelled.cancel()
    await settled()
    assert next_one.has_place
    await next_one.cancel()


@given(
    st.lists(
        st.tuples(st.sampled_from(["come", "end", "cancel"]), st.integers(1, USERS)), max_size=60
    )
)
@example([*[("come", 1)] * 5, *[("come", 2)] * 2, ("end", 1), ("cancel", 2), ("end", 1)])
def test_no_place_is_idle_and_each_user_is_passed_over_at_most_once_by_each_other(
    steps: list[tuple[str, int]],
) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, int]]) -> None:
    turns, readers = Turns(PLACES), list[Reader]()
    passed: Counter[int] = Counter()
    for kind, number in steps:
        before = holding(readers)
        waiting = [reader for reader in readers if not reader.has_place]
        if kind == "come":
            readers.append(Reader(turns, number))
        elif kind == "end" and before:
            readers.remove(ended := before[number % len(before)])
            await ended.end()
        elif kind == "cancel" and waiting:
            readers.remove(given_up := waiting[number % len(waiting)])
            await given_up.cancel()
        await settled()
        now = holding(readers)
        assert len(now) == min(PLACES, len(readers))
        begun = [reader.user_id for reader in now if reader not in before]
        for user_id in {reader.user_id for reader in waiting}:
            passed[user_id] = 0 if user_id in begun else passed[user_id] + len(begun)
            assert passed[user_id] < USERS
        for user_id in set(passed) - {reader.user_id for reader in waiting}:
            del passed[user_id]
    for reader in readers:
        await reader.cancel()
    # All places are free again.
    last = [Reader(turns, number) for number in range(PLACES)]
    await settled()
    assert all(reader.has_place for reader in last)
    for reader in last:
        await reader.end()


async def test_slices_of_one_user_are_done_in_order_one_in_each_turn_of_the_loop() -> None:
    slices, done = Slices(), list[int]()
    for number in range(4):
        slices.ask(1, partial(done.append, number))
    seen = [len(done)]
    while len(done) < 4:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == [0, 1, 2, 3]
    assert all(after - before <= 1 for before, after in pairwise(seen))


async def test_the_slice_of_another_user_waits_for_none() -> None:
    slices, done = Slices(), list[int]()
    for _ in range(100):
        slices.ask(1, partial(done.append, 1))
    slices.ask(2, partial(done.append, 2))
    assert done == [1, 2]


async def test_a_turn_that_is_over_keeps_nobody_waiting() -> None:
    slices = Slices()
    assert [slices.begin(1), slices.begin(1)] == [True, False]
    await settled()
    assert slices.begin(1)


async def test_a_slice_that_fails_takes_no_other_along(caplog) -> None:
    slices, done = Slices(), list[int]()
    slices.ask(1, partial(done.append, 0))
    slices.ask(1, partial(int, "no number"))
    slices.ask(1, partial(done.append, 2))
    await settled()
    assert done == [0, 2]
    assert "no number" in caplog.text
