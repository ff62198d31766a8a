"""What a peer sent, as the log shows it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.tokens import new_token
from app.base.foreign import MASK, SECRET_LENGTH, clean, masked

SECRETS = st.text("abcXYZ019_-", min_size=SECRET_LENGTH, max_size=600)


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param("\n", id="new line"),
        pytest.param("\r", id="carriage return"),
        pytest.param("\x1b", id="escape"),
        pytest.param("\x9b", id="escape of 8 bits"),
        pytest.param("\u202e", id="right to left"),
        pytest.param("\u2028", id="line separator"),
        pytest.param("\u200b", id="invisible space"),
        pytest.param("\udcff", id="a byte that is no UTF-8"),
        pytest.param("\x00", id="zero"),
    ],
)
def test_what_is_not_printable_is_a_question_mark(evil: str) -> None:
    assert clean(f"a{evil}b") == masked(f"a{evil}b", 64) == "a?b"


def test_text_of_other_languages_stays() -> None:
    assert clean("Дом ünï 家") == "Дом ünï 家"


@given(st.text(), st.integers(0, 300))
def test_what_is_left_is_one_line_of_the_wanted_length(text: str, length: int) -> None:
    left = masked(text, length)
    assert len(left) <= length
    assert left.isprintable()
    left.encode()


@given(st.text(" /;()", max_size=300), SECRETS, st.integers(0, 500))
def test_no_part_of_a_secret_is_left_wherever_the_text_is_cut(
    before: str, secret: str, length: int
) -> None:
    assert masked(f"{before}{secret} end", length) == f"{before}{MASK} end"[:length]


def test_our_own_tokens_are_secrets() -> None:
    token = new_token()
    assert masked(f"app/1.0 ({token})", 200) == f"app/1.0 ({MASK})"


@pytest.mark.parametrize(
    "text",
    [
        "Mozilla/5.0 (Linux; Android 14; SM-G998B) AppleWebKit/537.36 Chrome/120.0.0.0 Mobile",
        "/v1/devices/123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_a_browser_and_a_uuid_are_no_secrets(text: str) -> None:
    assert masked(text, 200) == text
