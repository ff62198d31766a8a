"""Failed sign-ins."""

import pytest

from app.auth.limiter import FailureLimiter
from app.base.errors import Problem
from tests.auth.house import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def tries(limiter: FailureLimiter, *keys: str) -> int:
    """Return how many tries of these keys are let through until one is not."""
    for number in range(100):
        try:
            limiter.reserve(keys)
        except Problem:
            return number
    return 100


def test_so_many_failures_are_let_through_at_once(clock: FakeClock) -> None:
    assert tries(FailureLimiter(10, 300, clock), "ada") == 10


def test_the_refusal_says_in_whole_seconds_when_to_try_again(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    tries(limiter, "ada")
    clock.advance(0.5)
    with pytest.raises(Problem) as caught:
        limiter.reserve(["ada"])
    assert (caught.value.status, caught.value.code) == (429, "too_many_attempts")
    assert type(caught.value.retry_after) is int
    assert caught.value.retry_after == 30
    clock.advance(29.5)
    limiter.reserve(["ada"])


def test_failures_are_forgiven_one_by_one(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    tries(limiter, "ada")
    clock.advance(61)
    assert tries(limiter, "ada") == 2
    clock.advance(10_000)
    assert tries(limiter, "ada") == 10


def test_each_key_counts_for_itself(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    assert tries(limiter, "ada", "192.0.2.1") == 10
    assert tries(limiter, "bob", "192.0.2.1") == 0
    assert tries(limiter, "ada", "192.0.2.2") == 0
    assert tries(limiter, "bob", "192.0.2.2") == 10


def test_a_refused_try_counts_for_no_key(clock: FakeClock) -> None:
    limiter = FailureLimiter(10, 300, clock)
    tries(limiter, "ada")
    assert tries(limiter, "192.0.2.1", "ada") == 0
    assert tries(limiter, "192.0.2.1") == 10


def test_a_success_is_refunded_and_forgives_nothing_else(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock)
    limiter.reserve(["ada"])
    limiter.reserve(["ada"])
    limiter.reserve(["ada"])
    limiter.refund(["ada"])
    assert tries(limiter, "ada") == 1


def test_a_refund_never_gives_credit(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock)
    limiter.reserve(["ada"])
    clock.advance(299)
    limiter.refund(["ada"])
    limiter.refund(["ada"])
    assert tries(limiter, "ada") == 3


def test_without_attempts_nothing_is_counted(clock: FakeClock) -> None:
    limiter = FailureLimiter(0, 300, clock)
    assert tries(limiter, "ada") == 100
    limiter.refund(["ada"])
    assert len(limiter) == 0


def test_memory_is_bounded(clock: FakeClock) -> None:
    limiter = FailureLimiter(3, 300, clock, capacity=50)
    for number in range(500):
        limiter.reserve([f"user {number}"])
    assert len(limiter) == 50


def test_the_half_used_last_stays_counted(clock: FakeClock) -> None:
    limiter = FailureLimiter(1, 300, clock, capacity=50)
    for number in range(500):
        limiter.reserve([f"user {number}"])
    assert [tries(limiter, f"user {number}") for number in range(475, 500)] == [0] * 25
