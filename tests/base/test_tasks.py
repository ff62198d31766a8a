"""Work that goes on when a caller is cancelled."""

import asyncio
import gc
from collections.abc import Sequence

import pytest

from app.base.tasks import BATCH_KEYS, Batches, Firm, complete


async def test_the_outcome_is_the_works() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await complete(work()) == 7


async def test_an_error_is_the_works() -> None:
    async def work() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError):
        await complete(work())


async def test_a_cancelled_caller_is_told_after_the_end() -> None:
    release, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await release.wait()
        done.set()

    caller = asyncio.create_task(complete(work()))
    await asyncio.sleep(0)
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


async def test_a_cancelled_caller_sees_the_works_error_as_the_cause() -> None:
    release = asyncio.Event()

    async def work() -> None:
        await release.wait()
        raise KeyError("a")

    caller = asyncio.create_task(complete(work()))
    await asyncio.sleep(0)
    caller.cancel()
    release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await caller
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_cancelled_waiter_of_a_firm_future_is_told_when_that_is_done() -> None:
    told: Firm[int] = Firm()

    async def wait() -> int:
        return await told

    waiter = asyncio.create_task(wait())
    await asyncio.sleep(0)
    for _ in range(3):
        waiter.cancel()
        await asyncio.sleep(0)
    assert not waiter.done()
    told.set_result(7)
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert told.result() == 7


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nobody_complains_of_a_firm_futures_error_that_a_waiter_saw(
    cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> None:
        told: Firm[int] = Firm()

        async def wait() -> int:
            return await told

        waiter = asyncio.create_task(wait())
        await asyncio.sleep(0)
        if cancelled:
            waiter.cancel()
        told.set_exception(KeyError("a"))
        with pytest.raises(asyncio.CancelledError if cancelled else KeyError):
            await waiter

    await fail()
    gc.collect()
    assert caplog.records == []


# Batches


class Shelf:
    """Answers with the length of a word, and remembers how it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.was_asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def load(self, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(list(keys))
        self.was_asked.set()
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return {key: len(key) for key in keys if key}


async def test_what_is_wanted_at_once_is_one_load() -> None:
    shelf = Shelf()
    batches = Batches(shelf.load)
    assert await asyncio.gather(*(batches.get(key) for key in ("a", "bb", "", "a"))) == [
        1,
        2,
        None,
        1,
    ]
    assert shelf.asked == [["a", "bb", ""]]


async def test_what_comes_in_during_a_load_is_the_next_one() -> None:
    shelf = Shelf()
    shelf.open.clear()
    batches = Batches(shelf.load)
    first = asyncio.ensure_future(batches.get("a"))
    await shelf.was_asked.wait()
    later = [asyncio.ensure_future(batches.get(key)) for key in ("b", "c", "a")]
    await asyncio.sleep(0)
    shelf.open.set()
    assert await asyncio.gather(first, *later) == [1, 1, 1, 1]
    assert shelf.asked == [["a"], ["b", "c"]]


async def test_a_load_has_a_limit() -> None:
    shelf = Shelf()
    batches = Batches(shelf.load)
    await asyncio.gather(*(batches.get(f"k{number}") for number in range(BATCH_KEYS + 1)))
    assert [len(keys) for keys in shelf.asked] == [BATCH_KEYS, 1]


async def test_an_error_reaches_all_who_waited_and_no_one_else() -> None:
    shelf = Shelf()
    shelf.error = OSError("disk")
    batches = Batches(shelf.load)
    for answer in await asyncio.gather(batches.get("a"), batches.get("b"), return_exceptions=True):
        assert answer is shelf.error
    shelf.error = None
    assert await batches.get("a") == 1


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    shelf = Shelf()
    shelf.open.clear()
    batches = Batches(shelf.load)
    leaves, stays = (asyncio.ensure_future(batches.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    shelf.open.set()
    assert await stays == 1


async def test_after_close_no_task_is_left() -> None:
    shelf = Shelf()
    batches = Batches(shelf.load)
    await batches.close()
    wanted = asyncio.ensure_future(batches.get("a"))
    await asyncio.sleep(0)
    await batches.close()
    assert await wanted == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}
