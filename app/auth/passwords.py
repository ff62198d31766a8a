"""Passwords: hashed with argon2id by a few threads beside the event loop."""

import asyncio
import contextlib
import os
import sys
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from secrets import token_bytes, token_urlsafe
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.base.errors import Problem

# The OWASP minimum for argon2id. A hash takes 29 ms here, and a guess costs an attacker as much.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1
MAX_PASSWORD_BYTES = 1024
BUSY_RETRY_SECONDS = 1
# Leaves these threads a tenth of a processor that the event loop wants whole.
NICENESS = 10
# 120 random bits in 20 characters.
MADE_PASSWORD_BYTES = 15

T = TypeVar("T")


class Passwords:
    """Hashes and verifies passwords with `workers` threads; at most `queue` calls wait for one."""

    def __init__(self, workers: int, queue: int) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._nobody = _unmatched_hash()
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="passwords", initializer=_be_nice
        )
        self._places = threading.Semaphore(workers + queue)

    async def hash(self, password: str) -> str:
        """Return the hash to store.

        Raises Problem 400 `password_too_long`, and 503 `busy` when too many hashes wait.
        """
        encoded = _encode(password)
        if encoded is None:
            raise Problem(
                400,
                "password_too_long",
                f"A password has at most {MAX_PASSWORD_BYTES} bytes of UTF-8.",
            )
        return await self.run(lambda: self._hasher.hash(encoded))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Return whether the password matches the hash; without a hash, False after as long.

        Raises Problem 503 `busy` when too many hashes wait.
        """
        encoded = _encode(password)
        if encoded is None:
            return False
        matches = await self.run(lambda: self._matches(password_hash or self._nobody, encoded))
        return matches and password_hash is not None

    def close(self) -> None:
        """Start no further hash; those that run end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password_hash: str, encoded: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, encoded)
        except (VerificationError, InvalidHashError):
            return False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, run by one of the threads.

        It runs to its end when the caller is cancelled. Raises Problem 503 `busy` when too many
        wait.
        """
        if not self._places.acquire(blocking=False):
            raise Problem(
                503,
                "busy",
                "Too many sign-ins at once; try again in a moment.",
                retry_after=BUSY_RETRY_SECONDS,
            )
        future = self._pool.submit(work)
        # By the thread's own future: the thread goes on when the caller is cancelled.
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, _done: "Future[T]") -> None:
        self._places.release()


def _be_nice() -> None:
    """Let the event loop's thread go first where processors are few."""
    if sys.platform == "linux":
        # Only there has a thread a priority of its own (setpriority(2)).
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def make_password(min_length: int) -> str:
    """Return a password that nobody can guess, short enough to be copied by hand."""
    return token_urlsafe(max(MADE_PASSWORD_BYTES, min_length))


def check_new_password(password: str, min_length: int) -> None:
    """Check the length; raises Problem 400 `password_too_short` or `password_too_long`."""
    if len(password) < min_length:
        raise Problem(
            400, "password_too_short", f"A password has at least {min_length} characters."
        )
    if len(password) > MAX_PASSWORD_BYTES:
        raise Problem(
            400,
            "password_too_long",
            f"A password has at most {MAX_PASSWORD_BYTES} bytes of UTF-8.",
        )


def _encode(password: str) -> bytes | None:
    """Return the bytes to hash; None if they are too many, or the password is no text."""
    if len(password) > MAX_PASSWORD_BYTES:
        return None
    try:
        # The same password typed on another keyboard (NIST SP 800-63B, section 3.1.1.2).
        encoded = unicodedata.normalize("NFKC", password).encode()
    except UnicodeEncodeError:
        return None
    return encoded if len(encoded) <= MAX_PASSWORD_BYTES else None


def _unmatched_hash() -> str:
    """Return a well-formed hash that no password has, without hashing."""
    salt, digest = (b64encode(token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${digest}"
