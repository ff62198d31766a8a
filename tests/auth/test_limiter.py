"""Failed sign-ins."""

import asyncio

import pytest

from app.auth.limiter import FailureLimiter, Limit
from app.base.errors import Problem
from tests.auth.house import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def limits(*keys: str) -> list[Limit]:
    return [Limit(key) for key in keys]


async def fail(limiter: FailureLimiter, *keys: str) -> None:
    """Try in vain; raises Problem if the try is refused."""
    async with limiter.attempt(limits(*keys)) as attempt:
        attempt.failed = True


async def tries(limiter: FailureLimiter, *keys: str) -> int:
    """Return how many failures of these keys are let through until one is not."""
    for number in range(100):
        try:
            await fail(limiter, *keys)
        except Problem:
            return number
    return 100


async def test_so_many_failures_are_let_through_at_once(clock: FakeClock) -> None:
    assert await tries(FailureLimiter(10, 300, clock), "ada") == 10


async def test_the_refusal_says_in_whole_seconds_when_to_try_again(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    await tries(limiter, "ada")
    clock.advance(0.5)
    with pytest.raises(Problem) as caught:
        await fail(limiter, "ada")
    assert (caught.value.status, caught.value.code) == (429, "too_many_attempts")
    assert type(caught.value.retry_after) is int
    assert caught.value.retry_after == 30
    clock.advance(29.5)
    await fail(limiter, "ada")


async def test_failures_are_forgiven_one_by_one(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    await tries(limiter, "ada")
    clock.advance(61)
    assert await tries(limiter, "ada") == 2
    clock.advance(10_000)
    assert await tries(limiter, "ada") == 10


async def test_each_key_counts_for_itself(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    assert await tries(limiter, "ada", "192.0.2.1") == 10
    assert await tries(limiter, "bob", "192.0.2.1") == 0
    assert await tries(limiter, "ada", "192.0.2.2") == 0
    assert await tries(limiter, "bob", "192.0.2.2") == 10


async def test_a_limit_may_allow_several_times_as_many(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock)
    wide = [Limit("wide", 4)]
    for _ in range(12):
        async with limiter.attempt(wide) as attempt:
            attempt.failed = True
    assert not limiter.admits(wide)


async def test_a_refused_try_counts_for_no_key(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    await tries(limiter, "ada")
    assert await tries(limiter, "192.0.2.1", "ada") == 0
    assert await tries(limiter, "192.0.2.1") == 10


async def test_a_success_counts_nothing_and_forgives_nothing(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock)
    await fail(limiter, "ada")
    await fail(limiter, "ada")
    for _ in range(10):
        async with limiter.attempt(limits("ada")):
            pass
    assert await tries(limiter, "ada") == 1


async def test_a_try_that_breaks_off_counts_nothing(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock)
    with pytest.raises(KeyError):
        async with limiter.attempt(limits("ada")):
            raise KeyError
    assert len(limiter) == 0


async def test_tries_beyond_the_limit_wait_for_those_under_way(clock: FakeClock) -> None:
    limiter = FailureLimiter(2, 300, clock)
    begun: list[int] = []
    go_on = asyncio.Event()

    async def succeed(number: int) -> None:
        async with limiter.attempt(limits("ada")):
            begun.append(number)
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(succeed(number))
        while len(begun) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not limiter.admits(limits("ada"))
        go_on.set()
    assert sorted(begun) == list(range(5))
    assert len(limiter) == 0


async def test_a_waiting_try_is_refused_when_those_under_way_fail(clock: FakeClock) -> None:
    limiter = FailureLimiter(1, 300, clock)
    async with limiter.attempt(limits("ada")) as attempt:
        waiting = asyncio.create_task(fail(limiter, "ada"))
        await asyncio.sleep(0)
        attempt.failed = True
    with pytest.raises(Problem) as caught:
        await waiting
    assert caught.value.retry_after == 300


async def test_a_try_waits_only_for_so_long(clock: FakeClock) -> None:
    limiter = FailureLimiter(1, 300, clock, patience_seconds=0.01)
    async with limiter.attempt(limits("ada")):
        with pytest.raises(Problem) as caught:
            await fail(limiter, "ada")
    assert caught.value.retry_after == 1


async def test_without_attempts_nothing_is_counted(clock: FakeClock) -> None:
    limiter = FailureLimiter(0, 300, clock)
    assert await tries(limiter, "ada") == 100
    assert len(limiter) == 0


async def test_memory_is_bounded(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock, capacity=50)
    for number in range(500):
        await fail(limiter, f"user {number}")
    assert len(limiter) == 50


async def test_the_half_used_last_stays_counted(clock: FakeClock) -> None:
    limiter = FailureLimiter(1, 300, clock, capacity=50)
    for number in range(500):
        await fail(limiter, f"user {number}")
    assert [await tries(limiter, f"user {number}") for number in range(475, 500)] == [0] * 25
