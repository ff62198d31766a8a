"""A map that forgets what was used longest ago."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A map of the `kept` entries used last, and of older ones: at most twice as many in all.

    Plain dicts take half the memory of one that knows the order of use. An entry that is used
    moves to the young dict. When that is full it becomes the old one, and each further `put`
    removes two of the entries that were in the old one before. No value is None.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._leaving: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old) + len(self._leaving)

    def __contains__(self, key: K) -> bool:
        return key in self._young or key in self._old or key in self._leaving

    def get(self, key: K) -> V | None:
        """Return the value, which counts as a use; None if there is none."""
        value = self._young.get(key)
        if value is None:
            value = self._take(key)
            if value is not None:
                self._use(key, value)
        return value

    def put(self, key: K, value: V) -> list[tuple[K, V]]:
        """Give the key this value, and return the entries removed for it, two at most."""
        if key in self._young:
            self._young[key] = value
        else:
            self._take(key)
            self._use(key, value)
        leaving = self._leaving
        return [leaving.popitem() for _ in range(min(2, len(leaving)))]

    def pop(self, key: K) -> V | None:
        """Remove the key and return its value; None if it had none."""
        value = self._young.pop(key, None)
        return self._take(key) if value is None else value

    def clear(self) -> None:
        """Remove every entry."""
        self._young.clear()
        self._old.clear()
        self._leaving.clear()

    def _take(self, key: K) -> V | None:
        value = self._old.pop(key, None)
        return self._leaving.pop(key, None) if value is None else value

    def _use(self, key: K, value: V) -> None:
        if len(self._young) >= self._kept:
            # As many others were used since the old ones were.
            self._leaving.update(self._old)
            self._old, self._young = self._young, {}
        self._young[key] = value
