"""Type and id of a message of which only the ends are read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol.scanning import WINDOW_BYTES, type_and_id_in

LONG = [{"id": f"inner{n}", "type": "inner.type", "v": ['}"\\', {"id": 1}]} for n in range(500)]


def found(message: Any, **options: Any) -> tuple[str | None, str | None]:
    text = json.dumps(message, **options).encode()
    assert len(text) > 2 * WINDOW_BYTES
    return type_and_id_in(text[:WINDOW_BYTES], text[-WINDOW_BYTES:])


@pytest.mark.parametrize(
    "message",
    [
        {"type": "note.x", "id": "7", "payload": LONG},
        {"payload": LONG, "id": "7", "type": "note.x"},
        {"type": "note.x", "payload": LONG, "id": "7"},
        {"extra": {"id": "no", "type": "no"}, "id": "7", "payload": LONG, "type": "note.x"},
        {"payload": LONG, "id": "7", "type": "note.x", "extra": {"id": "no"}},
    ],
    ids=["before", "behind", "on both sides", "after another", "before another"],
)
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"separators": (",", ":")}], ids=str)
def test_members_before_and_behind_what_is_long_are_found(message: Any, options: Any) -> None:
    assert found(message, **options) == ("note.x", "7")


@pytest.mark.parametrize(
    "message",
    [
        {"payload": LONG},
        {"id": 7, "type": None, "payload": LONG},
        {"id": "", "type": "no type", "payload": LONG},
        {"id": "7" * 65, "payload": LONG},
        LONG,
    ],
)
def test_what_is_nested_or_malformed_is_not_taken_for_them(message: Any) -> None:
    assert found(message) == (None, None)


def test_the_end_of_a_text_that_was_cut_off_is_not_searched() -> None:
    assert type_and_id_in(b'{"payload":{"a":{"id":"inner"}') == (None, None)
    assert type_and_id_in(b'{"id":"7","payload":{"a":{') == (None, "7")


@given(
    st.dictionaries(
        st.text(max_size=8), st.recursive(st.text() | st.integers(), st.lists), max_size=4
    ),
    st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable()),
    st.booleans(),
)
def test_an_id_is_found_whatever_is_beside_it(
    others: dict[str, Any], id_: str, escaped: bool
) -> None:
    others.pop("id", None)
    for message in ({"id": id_, **others}, {**others, "id": id_}):
        text = json.dumps(message, ensure_ascii=escaped).encode()
        assert type_and_id_in(text, text)[1] == id_


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_bytes_that_are_no_json_are_no_fault(head: bytes, tail: bytes) -> None:
    type_and_id_in(b'{"id":' + head, tail + b'"id":"7"}')
