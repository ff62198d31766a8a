"""The checker of put-backs finds what it is there to find, and nothing else."""

from collections.abc import Sequence

import pytest

from scripts.faults.checker import Verdict
from scripts.faults.histories import check
from scripts.faults.journal import (
    Acknowledged,
    Connected,
    Copied,
    CopyHolds,
    Copying,
    Finished,
    Joined,
    Positioned,
    PutBack,
    Received,
    Record,
    Sent,
)

FIRST, SECOND = "e", "e.2"
"""The texts of two generations."""


def stored(name: str, offset: int, text: str = "e") -> list[Record]:
    """Device 0 sends a message, which is acknowledged."""
    return [Sent(0, name, "user"), Acknowledged(0, name, text.partition(".")[0], offset, False)]


def got(by: int, name: str, offset: int) -> Record:
    return Received(by, name, offset, 10, "main", True)


def came(by: int, asked: int, outcome: str, at: int, text: str = SECOND) -> list[Record]:
    return [Connected(by, asked, outcome, text, at), Positioned(by, text, at)]


JOINED: list[Record] = [
    CopyHolds("a", 1),
    *(Joined(by, 1, 10 + by, "main") for by in (0, 1)),
    *(
        one
        for by in (0, 1)
        for one in (Connected(by, None, "live", FIRST, 0), Positioned(by, FIRST, 0))
    ),
    *stored("x", 1),
    got(0, "x", 1),
    got(1, "x", 1),
    Copying("a"),
    Copied("a"),
]
"""Two devices of a user have the message `x`, and there is a copy with it."""

LOST: list[Record] = [*stored("y", 2), got(0, "y", 2), PutBack("a")]
"""Device 0 gets one more, and the copy is put back."""

BACK: list[Record] = [*came(0, 2, "reset", 1), *came(1, 1, "resumed", 1)]

LAST: list[Record] = [
    *stored("z", 2),
    *(got(by, "z", 2) for by in (0, 1)),
    *(Finished(by) for by in (0, 1)),
]


def verdict(*parts: Sequence[Record]) -> Verdict:
    return check([record for part in parts for record in part])


def kinds(*parts: Sequence[Record]) -> set[str]:
    return {fault.kind for fault in verdict(*parts).faults}


def test_a_put_back_that_is_told_is_no_fault() -> None:
    found = verdict(JOINED, LOST, BACK, LAST)
    assert found.good, found.faults
    assert found.counts["acknowledged, and put away with a database"] == 1
    assert found.counts["told reset, ahead of the copy"] == 1
    assert found.counts["kept"] == 2


def test_a_device_that_was_ahead_and_is_resumed_is_found() -> None:
    back = [*came(0, 2, "resumed", 2), *came(1, 1, "resumed", 1)]
    assert "lost" in kinds(JOINED, LOST, stored("z", 2), back, LAST[3:])


def test_the_same_offset_in_another_history_is_another_message() -> None:
    assert kinds(JOINED, LOST, BACK, LAST[:3], [got(1, "y", 2)], LAST[4:]) >= {"lost"}


def test_a_reset_of_a_device_that_the_copy_knows_is_found() -> None:
    back = [*came(0, 2, "reset", 1), *came(1, 1, "reset", 1)]
    assert kinds(JOINED, LOST, back, LAST) == {"reset"}


def test_a_device_that_was_told_a_generation_which_the_copy_lacks_may_be_reset() -> None:
    restarted = came(1, 1, "resumed", 1, "e.lost")
    back = [*came(0, 2, "reset", 1), *came(1, 1, "reset", 1)]
    assert kinds(JOINED, restarted, LOST, back, LAST) == set()


def test_a_message_of_the_copy_or_after_it_that_a_device_lacks_is_found() -> None:
    assert kinds(JOINED, LOST, BACK, LAST[:3], LAST[4:]) == {"lost"}
    without_x = [one for one in JOINED if one != got(1, "x", 1)]
    back = [*came(0, 2, "reset", 1), *came(1, 0, "resumed", 0)]
    assert kinds(without_x, LOST, back, LAST) == {"lost"}


def test_a_copy_without_what_was_acknowledged_before_it_is_found() -> None:
    assert "lost" in kinds([CopyHolds("a", 0)], JOINED[1:], LOST, BACK, LAST)


def test_a_copy_with_what_was_sent_after_it_is_found() -> None:
    assert "foreign" in kinds([CopyHolds("a", 2)], JOINED[1:], LOST, BACK, LAST)


def test_a_message_twice_in_one_history_is_found_and_again_after_a_reset_is_none() -> None:
    again = [Sent(0, "y", "user"), Acknowledged(0, "y", "e", 2, False)]
    last = [*again, got(0, "y", 2), got(1, "y", 2), *LAST[-2:]]
    assert kinds(JOINED, LOST, BACK, last) == set()
    twice = [*stored("z", 2), Acknowledged(0, "z", "e", 3, False)]
    rest = [one for by in (0, 1) for one in (got(by, "z", 2), got(by, "z", 3), Finished(by))]
    assert kinds(JOINED, LOST, BACK, twice, rest) == {"doubled"}


@pytest.mark.parametrize("text", ["other", "other.2"])
def test_another_epoch_is_found(text: str) -> None:
    back = [*came(0, 2, "reset", 1, text), *came(1, 1, "resumed", 1)]
    assert kinds(JOINED, LOST, back, LAST) == {"reset"}


def test_a_device_that_never_catches_up_is_found() -> None:
    assert kinds(JOINED, LOST, BACK, LAST[:-1]) == {"unfinished"}
