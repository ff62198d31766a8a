"""Opaque tokens."""

import hashlib
import re

from app.auth.tokens import TOKEN_LENGTH, hash_token, new_token


def test_a_token_fits_a_header_a_protocol_and_is_no_jwt() -> None:
    for _ in range(100):
        assert re.fullmatch(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}", new_token())


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


def test_a_token_is_stored_as_its_sha_256() -> None:
    assert hash_token("abc") == hashlib.sha256(b"abc").digest()


def test_bytes_that_are_no_text_hash_too() -> None:
    assert len(hash_token("\udcff\ud800")) == 32
