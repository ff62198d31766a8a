"""How much a connection may send."""

from app.node.inflow import Rate, RateLimit

LIMIT = RateLimit(
    messages_per_second=10, messages_burst=20, bytes_per_second=1000, bytes_burst=2000
)


def test_a_burst_is_taken_and_then_no_more() -> None:
    rate = Rate(LIMIT, 0)
    assert [rate.take(1, 0) for _ in range(21)] == [True] * 20 + [False]


def test_time_gives_the_rate_back_but_never_more_than_a_burst() -> None:
    rate = Rate(LIMIT, 0)
    while rate.take(1, 0):
        pass
    assert sum(rate.take(1, 1) for _ in range(20)) == 10
    assert sum(rate.take(1, 1000) for _ in range(40)) == 20


def test_bytes_are_limited_too() -> None:
    rate = Rate(LIMIT, 0)
    assert rate.take(2000, 0)
    assert not rate.take(500, 0.25)
    assert rate.take(500, 0.5)


def test_refusals_in_a_row_are_counted() -> None:
    rate = Rate(LIMIT, 0)
    rate.take(2000, 0)
    rate.take(1, 0)
    rate.take(1, 0)
    assert rate.refused == 2
    rate.take(1, 1)
    assert rate.refused == 0


def test_a_limit_of_zero_is_no_limit() -> None:
    only_bytes = RateLimit(0, 1, 1000, 2000)
    assert all(Rate(only_bytes, 0).take(1, 0) for _ in range(100))
    assert RateLimit(0, 1, 0, 1).unlimited
    assert not only_bytes.unlimited
