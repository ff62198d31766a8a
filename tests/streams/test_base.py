"""Whom a stored row is for."""

import pytest

from app.streams.base import EVERYONE, MAX_TIME, Row

DEVICE, TAB = 7, "tab-1"


def test_no_user_is_everyone_and_times_fit_a_database() -> None:
    assert (EVERYONE, MAX_TIME) == (0, 9_223_372_036_854_775_807)


@pytest.mark.parametrize(
    ("target", "without", "instance", "expected"),
    [
        (0, 0, "", True),
        (DEVICE, 0, "", True),
        (8, 0, "", False),
        (0, DEVICE, "", False),
        (0, DEVICE, TAB, False),
        (0, DEVICE, "tab-2", True),
        (0, 8, "", True),
        (0, 8, TAB, True),
    ],
)
def test_a_row_is_for_its_target_and_not_for_whom_it_leaves_out(
    target: int, without: int, instance: str, expected: bool
) -> None:
    row = Row(
        *(1, 1, "note.text", b"1"),
        target_device=target,
        without_device=without,
        without_instance=instance,
    )
    assert row.is_for(DEVICE, TAB) is expected
