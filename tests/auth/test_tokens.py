"""Opaque tokens."""

import hashlib
import re

from app.auth.tokens import (
    TOKEN_LENGTH,
    TOKENS_OF_USER,
    Entry,
    Identity,
    TokenCache,
    hash_token,
    new_token,
)


def test_a_token_fits_a_header_a_protocol_and_is_no_jwt() -> None:
    for _ in range(100):
        assert re.fullmatch(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}", new_token())


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


def test_a_token_is_stored_as_its_sha_256() -> None:
    assert hash_token("abc") == hashlib.sha256(b"abc").digest()


def test_bytes_that_are_no_text_hash_too() -> None:
    assert len(hash_token("\udcff\ud800")) == 32


# Tokens in memory


def entry(user_id: int = 1, session_id: int | None = 3) -> Entry:
    return Entry(Identity(user_id, "ada", (), 2, session_id, None, "header"), last_used=5)


def test_a_token_is_found_by_itself_by_its_session_and_by_its_user() -> None:
    cache, one = TokenCache(8), entry()
    cache.put(b"a", one)
    assert (cache.get(b"a"), cache.of_session(3), cache.of_user(1)) == (one, one, [(b"a", one)])
    assert (cache.get(b"b"), cache.of_session(4), cache.of_user(2)) == (None, None, [])


def test_a_token_that_is_dropped_is_found_no_more_and_twice_is_no_error() -> None:
    cache, other = TokenCache(8), entry(session_id=4)
    cache.put(b"a", entry())
    cache.put(b"b", other)
    for _ in range(2):
        cache.drop(b"a")
    assert (cache.get(b"a"), cache.of_session(3)) == (None, None)
    assert cache.of_user(1) == [(b"b", other)]


def test_a_token_that_is_put_again_has_its_new_entry_alone() -> None:
    cache, new = TokenCache(8), entry()
    cache.put(b"a", entry())
    cache.put(b"a", new)
    assert (cache.of_session(3), cache.of_user(1)) == (new, [(b"a", new)])


def test_what_a_small_cache_forgets_is_found_in_no_way() -> None:
    cache = TokenCache(4)
    for number in range(40):
        cache.put(b"%d" % number, entry(session_id=number))
    kept = {key for key, _ in cache.of_user(1)}
    assert 4 <= len(kept) <= 8
    for number in range(40):
        known = b"%d" % number in kept
        assert (cache.of_session(number) is not None) is known
        assert (cache.get(b"%d" % number) is not None) is known


def test_of_one_user_the_newest_tokens_stay_in_memory() -> None:
    cache = TokenCache(10 * TOKENS_OF_USER)
    cache.put(b"other", entry(user_id=2, session_id=None))
    for number in range(TOKENS_OF_USER + 1):
        cache.put(b"%d" % number, entry(session_id=None))
    assert cache.get(b"0") is None
    assert len(cache.of_user(1)) == TOKENS_OF_USER
    assert cache.get(b"other") is not None


def test_a_use_by_a_clock_that_is_behind_makes_no_session_older() -> None:
    one = entry()
    for at in (4, 6, 5):
        one.use(at)
    assert one.last_used == 6
