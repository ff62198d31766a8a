"""The checksum of a message tells any two different rows apart."""

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.streams.base import Row
from app.streams.checksum import checksum, is_sound, with_checksum

ROW = Row(7, 1, "note.text", b'"hello"', 2, 3, "tab", 4, "main", "theme", 5, 6)
NUMBERS = st.integers(0, (1 << 63) - 1)
# Few letters, so that pieces of one text easily look like those of another.
TEXTS = st.text("a1 -", max_size=4)
ROWS = st.builds(
    Row,
    offset=NUMBERS,
    user_id=st.integers(0, 12),
    type=TEXTS,
    payload=TEXTS.map(str.encode),
    target_device=st.integers(0, 12),
    without_device=st.integers(0, 12),
    without_instance=TEXTS,
    source_device=st.integers(0, 12),
    source_instance=TEXTS,
    key=st.none() | TEXTS,
    created_at=NUMBERS,
    expires_at=st.none() | NUMBERS,
    deleted=st.integers(0, 1),
)


def values(row: Row, **changed: Any) -> Any:
    return tuple({**row.__class__.__dataclass_fields__, **_named(row), **changed}.values())


def _named(row: Row) -> dict[str, Any]:
    return dict(zip(row.__class__.__dataclass_fields__, astuple(row), strict=True))


@given(ROWS)
def test_what_was_stored_is_sound(row: Row) -> None:
    assert is_sound(with_checksum(values(row)))


@given(ROWS, ROWS)
def test_two_different_rows_have_different_checksums(one: Row, other: Row) -> None:
    assert (one == other) == (checksum(values(one)) == checksum(values(other)))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("offset", 8),
        ("user_id", 0),
        ("type", "note.texs"),
        ("type", b"note.text"),
        ("payload", b'"hellp"'),
        ("payload", '"hello"'),
        ("payload", None),
        ("target_device", 3),
        ("without_device", 2),
        ("without_instance", "tac"),
        ("source_device", 5),
        ("source_instance", ""),
        ("key", None),
        ("key", ""),
        ("created_at", 4),
        ("created_at", 5.0),
        ("expires_at", None),
        ("expires_at", float("inf")),
        ("deleted", 1),
    ],
)
def test_a_change_of_any_column_shows(column: str, value: Any) -> None:
    stored = with_checksum(values(ROW))
    assert is_sound(stored)
    names = list(Row.__dataclass_fields__)
    place = names.index(column)
    assert not is_sound((*stored[:place], value, *stored[place + 1 :]))


def test_texts_that_run_together_are_told_apart() -> None:
    one = values(ROW, without_instance="ab", source_instance="c", key=None)
    other = values(ROW, without_instance="a", source_instance="bc", key=None)
    assert checksum(one) != checksum(other)


def test_only_messages_of_before_may_lack_a_checksum() -> None:
    assert is_sound(values(ROW, crc=None), last_unchecked=ROW.offset)
    assert not is_sound(values(ROW, crc=None), last_unchecked=ROW.offset - 1)
