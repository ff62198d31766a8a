"""A map that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A map of at most `capacity` entries: the one used longest ago makes place."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def get(self, key: K) -> V | None:
        """Return the value, which counts as a use."""
        value = self._entries.get(key)
        if value is not None:
            self._entries.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> tuple[K, V] | None:
        """The key has this value; return the entry that made place for it."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) <= self._capacity:
            return None
        return self._entries.popitem(last=False)

    def pop(self, key: K) -> V | None:
        """The key has no value any more; return the one that it had."""
        return self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()
