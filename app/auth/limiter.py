"""The limit on failed sign-ins, of an account and of an address."""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from app.base.errors import Problem
from app.base.lru import Lru

CAPACITY = 65_536
"""Keys at most, about 270 bytes each; the half that was used last is sure to be counted.

To make the limiter forget an account, an attacker has to fail 16,000 times with other accounts from
other addresses. Each of these costs a hash, and meanwhile the account's own failures leak away.
"""


@dataclass(slots=True)
class _Bucket:
    """A leaking bucket: `level` failures at the time `at`."""

    level: float
    at: float


class FailureLimiter:
    """Allows `attempts` failures of a key, and forgets as many, one by one, in `window_seconds`.

    An attempt is counted before it is known to fail, so that many at once cannot pass together.
    With `attempts` 0 nothing is counted.
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
        """Count a failure for every key.

        Raises Problem 429 `too_many_attempts`, and counts nothing, if one of them has too many.
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
        """Take back what `reserve` counted for these keys: the attempt did not fail."""
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
