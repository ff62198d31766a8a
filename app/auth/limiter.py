"""The limit on failed sign-ins, of an account, of an address, and of those known to succeed."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from app.base.errors import Problem
from app.base.lru import Lru

CAPACITY: Final = 65_536
"""Keys at most, about 280 bytes each; the half that was used last is sure to be counted.

To make the limiter forget an account, an attacker has to fail 16,000 times with other accounts from
other addresses. Each of these costs a hash, and meanwhile the account's own failures leak away.
"""

PATIENCE_SECONDS: Final = 5.0
"""How long a try waits for others that are under way: a hash takes 30 ms, and some may queue."""

MAX_WAITING: Final = 1000
"""Tries that wait at once, of all keys; one more is refused."""


@dataclass(slots=True)
class _Bucket:
    """A leaking bucket: `level` failures at the time `at`, and tries that are under way."""

    level: float
    at: float
    under_way: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """A key whose failures count, and how many times the attempts of an account it is allowed."""

    key: Hashable
    times: int = 1


class Attempt:
    """One try to sign in; it did not fail unless `failed` is set before its block ends."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = False


class FailureLimiter:
    """Allows `attempts` failures of a key, and forgets as many, one by one, in `window_seconds`.

    Tries under way are no failures, but together with the failures they are never more than
    `attempts`, so that many at once cannot pass together. With `attempts` 0 nothing is counted.
    """

    def __init__(
        self,
        attempts: int,
        window_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        capacity: int = CAPACITY,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._attempts = attempts
        self._rate = attempts / window_seconds
        self._clock = clock
        self._buckets: Lru[Hashable, _Bucket] = Lru(capacity // 2)
        self._patience = patience_seconds
        self._waiting: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._buckets)

    def admits(self, limits: Sequence[Limit]) -> bool:
        """Tell whether a try would begin at once."""
        if not self._attempts:
            return True
        now = self._clock()
        return all(self._room(limit, now) >= 1 for limit in limits)

    @asynccontextmanager
    async def attempt(self, limits: Sequence[Limit]) -> AsyncIterator[Attempt]:
        """Give a try that counts for every limit if it fails.

        A try that has no room because others are under way waits for them. Raises Problem 429
        `too_many_attempts`, and counts nothing, when a limit has too many failures, or the others
        take too long.
        """
        if not self._attempts:
            yield Attempt()
            return
        await self._until_admitted(limits)
        buckets = [self._bucket(limit.key) for limit in limits]
        for bucket in buckets:
            bucket.under_way += 1
        attempt = Attempt()
        try:
            yield attempt
        finally:
            now = self._clock()
            for limit, bucket in zip(limits, buckets, strict=True):
                self._leak(bucket, now)
                bucket.under_way -= 1
                bucket.level += attempt.failed
                if bucket.level <= 0 and not bucket.under_way:
                    self._buckets.pop(limit.key)
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)

    async def _until_admitted(self, limits: Sequence[Limit]) -> None:
        end = time.monotonic() + self._patience
        while not self.admits(limits):
            wait = max(self._seconds_to_wait(limit) for limit in limits)
            if wait > 0:
                raise _too_many_attempts(wait)
            left = end - time.monotonic()
            if left <= 0 or len(self._waiting) >= MAX_WAITING:
                raise _too_many_attempts(1)
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                self._waiting.discard(waiter)

    def _room(self, limit: Limit, now: float) -> float:
        """Return how many tries of this limit may begin now."""
        most = self._attempts * limit.times
        bucket = self._buckets.get(limit.key)
        if bucket is None:
            return most
        self._leak(bucket, now)
        return most - bucket.level - bucket.under_way

    def _seconds_to_wait(self, limit: Limit) -> float:
        """Return how long failures alone leave no room for one more."""
        bucket = self._buckets.get(limit.key)
        if bucket is None:
            return 0.0
        return (bucket.level + 1 - self._attempts * limit.times) / self._rate

    def _bucket(self, key: Hashable) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(0.0, self._clock())
            self._buckets.put(key, bucket)
        return bucket

    def _leak(self, bucket: _Bucket, now: float) -> None:
        bucket.level = max(0.0, bucket.level - (now - bucket.at) * self._rate)
        bucket.at = now


def _too_many_attempts(seconds: float) -> Problem:
    return Problem(
        429,
        "too_many_attempts",
        "Too many failed sign-ins; try again later.",
        retry_after=math.ceil(seconds),
    )
