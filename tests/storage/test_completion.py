"""Work that outlives the one who asked for it."""

import asyncio

import pytest

from app.storage.completion import complete


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
