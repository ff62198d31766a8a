"""What one user may do on all connections together."""

from collections.abc import Callable

import pytest
from clocks import HandClock
from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import Problem
from app.base.metrics import Metrics
from app.node.allowance import Allowance, Allowances, Meter, Pace, UserLimits
from app.node.limited import Limited


class Bucket:
    """A token bucket by the book, which a meter must not tell apart."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self.per_second, self.burst, self.level, self.then = per_second, burst, burst, now

    def take(self, units: float, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.then) * self.per_second)
        self.then = now
        # Where sums of fractions may differ, either answer is right, and the meter's is generous.
        if self.level + 0.01 < units:
            return False
        self.level -= units
        return True


@given(
    rate=st.sampled_from([0.5, 8, 100, 5000]),
    burst=st.integers(1, 300),
    steps=st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 40)), max_size=60),
)
def test_a_meter_takes_what_a_bucket_would(
    rate: float, burst: int, steps: list[tuple[int, int]]
) -> None:
    now = 1_000_000.0
    meter, bucket = Meter(Pace(rate, burst)), Bucket(rate, burst, now)
    for milliseconds, units in steps:
        now += milliseconds / 1000
        taken = min(units, burst)
        wait = meter.take(units, now)
        assert (wait == 0) == bucket.take(taken, now)
        if wait:
            assert bucket.level + (wait + 0.02 / rate) * rate >= taken, "it says when to come back"


def test_a_whole_burst_passes_at_once_and_then_what_the_rate_gives_back() -> None:
    meter = Meter(Pace(10, 20))
    assert [meter.take(1, 100) for _ in range(20)] == [0] * 20
    assert meter.take(1, 100) == pytest.approx(0.1, abs=0.01)
    assert meter.take(1, 100.1) == 0


def test_more_than_a_burst_counts_as_one_so_that_it_passes() -> None:
    meter = Meter(Pace(10, 20))
    assert meter.take(500, 100) == 0
    assert meter.take(1, 100) > 0


@pytest.mark.parametrize("rate", [0, 0.0])
def test_a_rate_of_zero_is_no_limit(rate: float) -> None:
    meter = Meter(Pace(rate, 1))
    assert not any(meter.take(1_000_000, 5) for _ in range(1000))
    allowance = Allowance(UserLimits())
    assert not any(allowance.take(1_000_000, 5) for _ in range(1000))


def test_messages_and_bytes_are_limited_each_by_itself_and_the_limit_is_named() -> None:
    allowance = Allowance(UserLimits(messages=Pace(1, 3), bytes=Pace(100, 1000)))
    assert allowance.take(900, 0) is None
    met = allowance.take(200, 0)
    assert met is not None
    assert met[0] == "bytes"
    assert [allowance.take(0, 0), allowance.take(0, 0)] == [None, None], (
        "a refused one took nothing"
    )
    met = allowance.take(0, 0)
    assert met is not None
    assert met[0] == "messages"
    assert met[1] == pytest.approx(1, abs=0.02)


# Of all users


@pytest.fixture
def online() -> set[int]:
    return set()


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1000)


@pytest.fixture
def allowances(online: set[int], clock: HandClock) -> Allowances:
    limits = UserLimits(upgrades=Pace(1, 2), writes=Pace(1, 1))
    limited = Limited(Metrics(), clock)
    return Allowances(limits, limited, is_connected=online.__contains__, clock=clock)


def refused(charge: Callable[[], None]) -> Problem | None:
    try:
        charge()
    except Problem as problem:
        return problem
    return None


def test_what_is_above_the_limit_is_told_when_it_would_pass(
    allowances: Allowances, clock: HandClock
) -> None:
    for _ in range(2):
        allowances.charge(1, "upgrades")
    problem = refused(lambda: allowances.charge(1, "upgrades"))
    assert problem is not None
    assert (problem.status, problem.code, problem.retry_after) == (429, "rate_limited", 1)
    allowances.charge(2, "upgrades")
    assert problem.retry_after_ms is not None
    clock.advance(problem.retry_after_ms / 1000)
    allowances.charge(1, "upgrades")


def test_upgrades_and_writes_are_two_limits(allowances: Allowances) -> None:
    for _ in range(2):
        allowances.charge(1, "upgrades")
    allowances.charge(1, "writes")
    assert refused(lambda: allowances.charge(1, "writes")) is not None


def test_a_user_who_comes_back_finds_the_allowance_as_it_was(
    allowances: Allowances, online: set[int]
) -> None:
    for _ in range(2):
        allowances.charge(1, "upgrades")
    online.discard(1)
    for other in range(2, 100):
        allowances.charge(other, "writes")
    assert refused(lambda: allowances.charge(1, "upgrades")) is not None


def test_an_allowance_that_nobody_needs_is_forgotten(
    allowances: Allowances, online: set[int], clock: HandClock
) -> None:
    for user in range(1000):
        allowances.charge(user, "writes")
    online |= {3, 4}
    clock.advance(1)
    kept = allowances.of(3)
    for user in range(1000, 3000):
        allowances.charge(user, "writes")
        clock.advance(1)
    assert len(allowances) < 10
    assert allowances.of(3) is kept, "connections hold on to it"
