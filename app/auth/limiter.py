"""How many failed sign-ins an account and an address may have."""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from app.base.errors import Problem
from app.base.lru import Lru

CAPACITY = 65_536
"""Keys that are counted, about 270 bytes each; sure to be counted is the half of them used last.

To have an account forgotten takes 16,000 failures of other accounts from other addresses, each of
which costs a hash: in that time the account's own failures leak away.
"""


@dataclass(slots=True)
class _Bucket:
    """A leaking bucket: `level` failures at the time `at`."""

    level: float
    at: float


class FailureLimiter:
    """Counts failures per key; a full bucket leaks empty in `window_seconds`.

    A try is counted before it is known to fail, so that many at once cannot pass together. With
    `attempts` 0 nothing is counted.
    """

    def __init__(
        self,
        attempts: int,
        window_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        capacity: int = CAPACITY,
    ) -> None:
        self._attempts = attempts
        self._rate = attempts / window_seconds
        self._clock = clock
        self._buckets: Lru[Hashable, _Bucket] = Lru(capacity // 2)

    def __len__(self) -> int:
        return len(self._buckets)

    def reserve(self, keys: Sequence[Hashable]) -> None:
        """Every key has one failure more.

        Raises Problem 429 `too_many_attempts`, and counts nothing, if one of them is full.
        """
        if not self._attempts:
            return
        now = self._clock()
        wait = max(self._wait(key, now) for key in keys)
        if wait > 0:
            raise Problem(
                429,
                "too_many_attempts",
                "Too many failed sign-ins; try again later.",
                retry_after=math.ceil(wait),
            )
        for key in keys:
            self._charge(key, now)

    def refund(self, keys: Sequence[Hashable]) -> None:
        """The try that was reserved with these keys did not fail."""
        now = self._clock()
        for key in keys:
            if (bucket := self._buckets.get(key)) is not None:
                self._leak(bucket, now)
                bucket.level -= 1
                if bucket.level <= 0:
                    self._buckets.pop(key)

    def _wait(self, key: Hashable, now: float) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return 0.0
        self._leak(bucket, now)
        return (bucket.level + 1 - self._attempts) / self._rate

    def _charge(self, key: Hashable, now: float) -> None:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(0.0, now)
            self._buckets.put(key, bucket)
        bucket.level += 1

    def _leak(self, bucket: _Bucket, now: float) -> None:
        bucket.level = max(0.0, bucket.level - (now - bucket.at) * self._rate)
        bucket.at = now
