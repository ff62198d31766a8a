"""Hashing passwords."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from app.auth.passwords import Passwords, check_new_password
from app.base.errors import Problem

PATIENCE = 10
"""Seconds that a close may take, which takes none."""


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(workers=2, queue=8)
    yield made
    made.close()


async def test_a_password_matches_its_hash_and_no_other(passwords: Passwords) -> None:
    hashed = await passwords.hash("open sesame")
    assert await passwords.verify(hashed, "open sesame")
    assert not await passwords.verify(hashed, "open sesame ")


async def test_a_hash_is_argon2id_with_19_mib_two_passes_and_one_lane(passwords: Passwords) -> None:
    assert (await passwords.hash("x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_equal_passwords_have_different_hashes(passwords: Passwords) -> None:
    assert await passwords.hash("x") != await passwords.hash("x")


async def test_nobody_costs_a_hash_of_the_same_parameters(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = PasswordHasher.verify

    def verify(hasher: PasswordHasher, password_hash: str, password: bytes) -> bool:
        asked.append(password_hash)
        return real(hasher, password_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    somebody = await passwords.hash("x")
    assert not await passwords.verify(None, "x")
    assert not await passwords.verify(somebody, "y")
    nobody, known = (hashed.split("$") for hashed in asked)
    assert nobody[:4] == known[:4]
    assert [len(part) for part in nobody] == [len(part) for part in known]


async def test_a_password_typed_on_another_keyboard_is_the_same(passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash("Zoe\u0308"), "Zoë")


@pytest.mark.parametrize("password", ["x" * 1025, "é" * 513, "\ud800", "\ufdfa" * 300])
async def test_over_1024_bytes_is_refused_and_never_matches(
    passwords: Passwords, password: str
) -> None:
    with pytest.raises(Problem) as caught:
        await passwords.hash(password)
    assert (caught.value.status, caught.value.code) == (400, "password_too_long")
    assert not await passwords.verify(None, password)


async def test_1024_bytes_are_allowed(passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash("é" * 512), "é" * 512)


async def test_a_damaged_hash_matches_nothing(passwords: Passwords) -> None:
    assert not await passwords.verify("$argon2id$damaged", "x")


async def test_a_full_pool_is_busy_until_a_thread_is_free_again() -> None:
    passwords = Passwords(workers=1, queue=1)
    release = threading.Event()
    blocked = [asyncio.ensure_future(passwords.run(release.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await passwords.verify(None, "x")
    assert (caught.value.status, caught.value.code) == (503, "busy")
    assert isinstance(caught.value.retry_after, int)
    release.set()
    await asyncio.gather(*blocked)
    assert not await passwords.verify(None, "x")
    passwords.close()


async def test_a_caller_who_goes_away_leaves_its_place_only_when_the_thread_does() -> None:
    passwords = Passwords(workers=1, queue=0)
    release, started, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()
        ended.set()

    caller = asyncio.ensure_future(passwords.run(work))
    await asyncio.to_thread(started.wait)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(Problem):
        await passwords.verify(None, "x")
    release.set()
    await asyncio.to_thread(ended.wait)
    passwords.close()


async def test_closing_waits_for_no_hash_and_starts_none_that_waits() -> None:
    passwords = Passwords(workers=1, queue=1)
    release, started = threading.Event(), threading.Event()

    def work() -> str:
        started.set()
        release.wait()
        return "done"

    running = asyncio.ensure_future(passwords.run(work))
    await asyncio.to_thread(started.wait)
    begun: list[str] = []
    waiting = asyncio.ensure_future(passwords.run(lambda: begun.append("late")))
    await asyncio.sleep(0)
    closing = threading.Thread(target=passwords.close)
    closing.start()
    await asyncio.to_thread(closing.join, PATIENCE)
    waited = closing.is_alive()
    release.set()
    assert not waited
    assert await running == "done"
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert begun == []


@pytest.mark.parametrize(
    ("password", "code"), [("x" * 9, "password_too_short"), ("x" * 1025, "password_too_long")]
)
def test_a_new_password_has_bounds(password: str, code: str) -> None:
    with pytest.raises(Problem) as caught:
        check_new_password(password, 10)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert password not in caught.value.detail


def test_length_counts_characters() -> None:
    check_new_password("é" * 10, 10)
