"""Limits on what comes in: connections of the node and of one address, handshakes, their pace."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from app.auth.peer import counted_network
from app.base.errors import Problem
from app.base.metrics import Metrics

UPGRADES: Final = 8
"""In one turn of the event loop: each takes some 0.3 ms."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """The most connections and handshakes at one time; `per_address` 0 is no limit."""

    connections: int
    per_address: int
    handshakes: int
    retry_after: int


class Admission:
    """Counts connections and handshakes, and refuses more than the limits before any look-up."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._by_network: Counter[str] = Counter()
        self._pacer = Pacer()
        self.handshakes = 0
        self.connections = 0

    @property
    def addresses(self) -> int:
        """How many addresses (of IPv6, /64 networks) have a place, without those exempt."""
        return len(self._by_network)

    def show_on(self, metrics: Metrics) -> None:
        """Show what is counted, and how many connections there may be."""
        watch = metrics.watch
        watch("places_taken", "Connections and handshakes let in.", lambda: self.connections)
        watch("handshakes", "Upgrades in flight.", lambda: self.handshakes)
        watch("addresses", "Addresses with connections, but for loopback.", lambda: self.addresses)
        watch(
            "connections_limit",
            "WebSockets at most: max_connections, or fewer if too few files may be open.",
            lambda: self._limits.connections,
        )

    def enter(self, address: str) -> None:
        """Take a place for one connection of the address, from its handshake until `leave`.

        Call `settle` when the handshake is over, whatever came of it.

        Raises Problem 503: `overloaded` when the node is full, `too_many_connections` when the
        address has its share. Loopback is exempt from the latter: it is where proxies sit.
        """
        limits = self._limits
        if self.connections >= limits.connections or self.handshakes >= limits.handshakes:
            raise self._refusal("overloaded", "The server has as many connections as it can take.")
        network = self._counted(address)
        if network is not None:
            if self._by_network[network] >= limits.per_address:
                raise self._refusal(
                    "too_many_connections", "This address has too many connections."
                )
            self._by_network[network] += 1
        self.connections += 1
        self.handshakes += 1

    async def turn(self) -> None:
        """Wait for this upgrade's turn; only a few go on in each turn of the event loop."""
        await self._pacer.wait()

    def settle(self, address: str, *, upgraded: bool) -> None:
        """Count one handshake less; one that did not become a connection gives its place back."""
        self.handshakes -= 1
        if not upgraded:
            self.leave(address)

    def leave(self, address: str) -> None:
        """Give the place back."""
        self.connections -= 1
        network = self._counted(address)
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]

    def _counted(self, address: str) -> str | None:
        return counted_network(address) if self._limits.per_address else None

    def _refusal(self, code: str, detail: str) -> Problem:
        return Problem(503, code, detail, retry_after=self._limits.retry_after)


class Pacer:
    """Lets a few upgrades pass in each turn of the event loop; the others wait, in order.

    So a storm of reconnects leaves time for all else.
    """

    __slots__ = ("_each_turn", "_passed", "_waiting")

    def __init__(self, each_turn: int = UPGRADES) -> None:
        self._each_turn = each_turn
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait for this caller's turn."""
        if self._passed < self._each_turn and not self._waiting:
            self._pass()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _pass(self) -> None:
        if not self._passed:
            asyncio.get_running_loop().call_soon(self._turn)
        self._passed += 1

    def _turn(self) -> None:
        """Let the next ones pass: another turn of the loop has begun."""
        self._passed = 0
        while self._waiting and self._passed < self._each_turn:
            turn = self._waiting.popleft()
            # A client that hung up meanwhile takes no place.
            if not turn.done():
                turn.set_result(None)
                self._pass()
