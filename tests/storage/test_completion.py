"""Work that outlives the one who asked for it."""

import asyncio
import gc

import pytest

from app.storage.completion import Firm, complete


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
