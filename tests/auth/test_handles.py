"""Handles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.handles import clean_handle, handle_key
from app.base.errors import Problem


@pytest.mark.parametrize("handle", ["a", "x" * 64, "Ada.Lovelace", "ada@example.org", "Zoë", "李"])
def test_a_handle_is_kept_as_it_is(handle: str) -> None:
    assert clean_handle(f"  {handle}\n") == handle


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "  ",
        "x" * 65,
        "two words",
        "tab\there",
        "nul\x00",
        "a\u200bb",
        "a\u202eb",
        "\ud800",
        "a\u00a0b",
        "x" * 10**6,
    ],
)
def test_any_other_handle_is_refused(handle: str) -> None:
    with pytest.raises(Problem) as caught:
        clean_handle(handle)
    assert (caught.value.status, caught.value.code) == (400, "invalid_handle")


@pytest.mark.parametrize(
    ("one", "other"), [("Ada", "aDA"), ("STRASSE", "straße"), ("Zoe\u0308", "ZOË")]
)
def test_handles_that_differ_in_case_or_composition_are_one(one: str, other: str) -> None:
    assert handle_key(clean_handle(one)) == handle_key(clean_handle(other))


@given(st.text(max_size=80))
def test_a_cleaned_handle_stays_what_it_is(text: str) -> None:
    try:
        handle = clean_handle(text)
    except Problem:
        return
    assert clean_handle(handle) == handle
    assert handle_key(handle) == handle_key(handle_key(handle))
