"""What one user or address causes in the log is bounded, and counted."""

import logging
from collections.abc import Hashable
from typing import Any

import pytest
from clocks import HandClock

from app.base.logs import fields
from app.base.storms import LOOK_SECONDS, MAX_STORMS, REFILL_SECONDS, STORM_LINES, Storms, at_most


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1000)


@pytest.fixture
def storms(clock: HandClock) -> Storms:
    return Storms(clock)


def record(by: Hashable, message: str = "connected", lines: int = STORM_LINES) -> logging.LogRecord:
    made = logging.LogRecord("app.x", logging.INFO, "", 0, message, (), None)
    vars(made).update(fields(user=by) | at_most(by, lines))
    return made


def told(storms: Storms, **more: Any) -> list[dict[str, Any]]:
    return [vars(one)["fields"] for one in storms.due(**more)]


def test_a_few_lines_of_a_user_are_all_shown(storms: Storms) -> None:
    assert all(storms.admit(record(1)) for _ in range(STORM_LINES))
    assert storms.suppressed == 0
    assert told(storms) == []


def test_of_a_storm_the_first_lines_are_shown_and_one_a_second_with_the_count(
    storms: Storms, clock: HandClock
) -> None:
    shown = sum(storms.admit(record(1)) for _ in range(500))
    assert shown == STORM_LINES
    assert storms.seconds_left() == LOOK_SECONDS
    lines = 0
    for _ in range(100):
        clock.advance(1)
        lines += len(told(storms))
        shown = sum(storms.admit(record(1)) for _ in range(50))
        assert shown <= 1
        lines += shown
    assert lines == pytest.approx(100, abs=2)
    assert storms.suppressed > 5000


def test_the_line_with_the_count_is_the_newest(storms: Storms, clock: HandClock) -> None:
    for _ in range(STORM_LINES):
        storms.admit(record(1))
    for address in ("old", "new"):
        held = record(1)
        vars(held)["fields"] = {"user": 1, "address": address}
        assert not storms.admit(held)
    clock.advance(1)
    assert told(storms) == [{"user": 1, "address": "new", "suppressed": 2}]
    assert told(storms) == []


def test_others_and_other_messages_are_not_held_back(storms: Storms) -> None:
    for _ in range(100):
        storms.admit(record(1))
    assert storms.admit(record(2))
    assert storms.admit(record(1, "disconnected"))
    unbound = logging.LogRecord("app.x", logging.INFO, "", 0, "connected", (), None)
    assert all(storms.admit(unbound) for _ in range(100))


def test_a_bound_may_be_wider(storms: Storms, clock: HandClock) -> None:
    assert sum(storms.admit(record(1, lines=200)) for _ in range(500)) == 200
    clock.advance(1)
    assert len(told(storms)) == 1
    assert sum(storms.admit(record(1, lines=200)) for _ in range(500)) == 9


def test_after_a_quiet_time_nothing_is_kept_and_all_lines_may_come_again(
    storms: Storms, clock: HandClock
) -> None:
    for _ in range(100):
        storms.admit(record(1))
    clock.advance(1)
    assert told(storms) != []
    clock.advance(REFILL_SECONDS)
    assert told(storms) == []
    assert storms.seconds_left() is None
    assert all(storms.admit(record(1)) for _ in range(STORM_LINES))


def test_what_is_held_back_at_the_end_is_told(storms: Storms) -> None:
    for _ in range(STORM_LINES + 3):
        storms.admit(record(1))
    assert told(storms, all_of_them=True) == [{"user": 1, "suppressed": 3}]


def test_endlessly_many_addresses_share_lines(storms: Storms) -> None:
    shown = sum(storms.admit(record(number)) for number in range(MAX_STORMS + 1000))
    assert shown == MAX_STORMS + STORM_LINES
    assert not storms.admit(record("another"))
