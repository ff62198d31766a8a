"""Who has met a limit, as administrators, the metrics and the log have it."""

import logging

import pytest
from clocks import HandClock

from app.base.metrics import Metrics
from app.node.limited import LIMITS, MAX_MET, QUIET_SECONDS, RECENT_SECONDS, TELL_SECONDS, Limited


@pytest.fixture
def clock() -> HandClock:
    return HandClock(50_000)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def limited(metrics: Metrics, clock: HandClock) -> Limited:
    return Limited(metrics, clock)


def test_every_limit_is_among_the_metrics_from_the_start(
    limited: Limited, metrics: Metrics
) -> None:
    assert metrics.limited == dict.fromkeys(LIMITS, 0)
    limited.note(1, "bytes")
    shown = metrics.registry.get_sample_value("switchboard_limited_total", {"limit": "bytes"})
    assert shown == 1


def test_what_is_met_again_and_again_is_one_entry_with_its_count(
    limited: Limited, clock: HandClock
) -> None:
    limited.note(1, "bytes")
    clock.advance(QUIET_SECONDS)
    limited.note(1, "bytes")
    limited.note(2, "bytes")
    first, second = limited.recent()
    assert (first.user_id, first.count) == (2, 1)
    assert (second.user_id, second.count) == (1, 2)
    assert (second.since, second.last) == (50_000, 50_000 + QUIET_SECONDS)


def test_after_a_quiet_time_a_limit_is_met_anew(limited: Limited, clock: HandClock) -> None:
    limited.note(1, "bytes")
    clock.advance(QUIET_SECONDS + 1)
    limited.note(1, "bytes")
    (met,) = limited.recent()
    assert (met.since, met.count) == (clock.now, 1)


def test_what_was_met_long_ago_is_not_shown(limited: Limited, clock: HandClock) -> None:
    limited.note(1, "bytes")
    clock.advance(RECENT_SECONDS + 1)
    assert limited.recent() == []


def test_the_memory_is_bounded_and_the_oldest_goes(limited: Limited) -> None:
    for user in range(MAX_MET + 5):
        limited.note(user, "writes")
    limited.note(5, "writes")
    recent = limited.recent()
    assert len(recent) == MAX_MET
    assert recent[0].user_id == 5
    assert {met.user_id for met in recent} == set(range(5, MAX_MET + 5))


def test_the_log_names_user_and_limit_once_a_minute(
    limited: Limited, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            limited.note(7, "durable")
            clock.advance(TELL_SECONDS / 99)
    lines = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        {"user": 7, "limit": "durable", "count": 1},
        {"user": 7, "limit": "durable", "count": 100},
    ]


def test_the_line_names_the_user_as_people_do(
    metrics: Metrics, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    limited = Limited(metrics, clock, {1: "ada"}.get)
    limited.note(1, "bytes")
    limited.note(2, "bytes")
    known, unknown = (record.__dict__["fields"] for record in caplog.records)
    assert (known["user"], known["handle"]) == (1, "ada")
    assert "handle" not in unknown
