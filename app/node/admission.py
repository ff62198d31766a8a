"""How many may come in: limits on connections of the node and of one address, and on handshakes."""

import ipaddress
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from app.base.errors import Problem
from app.node.turnstile import Turnstile


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The most at one time; `per_address` 0 is no limit."""

    connections: int
    per_address: int
    handshakes: int
    retry_after: int


class Admission:
    """Counts who is inside; a full house is a 503 with Retry-After before anything is looked up."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self.turnstile = Turnstile()
        """Where handshakes wait that were let in."""
        self.handshakes = 0
        self.connections = 0

    def enter(self, address: str) -> None:
        """Take a place for one connection of the address, from its upgrade until `leave`.

        The caller counts `handshakes` down when the upgrade is over, whatever came of it.

        Raises Problem 503: `overloaded` when the node is full, `too_many_connections` when the
        address has its share. Loopback is exempt from the latter: it is where proxies sit.
        """
        limits = self._limits
        if self.connections >= limits.connections or self.handshakes >= limits.handshakes:
            raise self._refusal("overloaded", "The server has as many connections as it can take.")
        if self._is_counted(address):
            if self._by_address[address] >= limits.per_address:
                raise self._refusal(
                    "too_many_connections", "This address has too many connections."
                )
            self._by_address[address] += 1
        self.connections += 1
        self.handshakes += 1

    def leave(self, address: str) -> None:
        """Give the place back."""
        self.connections -= 1
        if self._is_counted(address):
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _is_counted(self, address: str) -> bool:
        return self._limits.per_address > 0 and not _is_loopback(address)

    def _refusal(self, code: str, detail: str) -> Problem:
        return Problem(503, code, detail, retry_after=self._limits.retry_after)


@lru_cache(maxsize=4096)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        # A unix socket has no address and is this machine.
        return True
