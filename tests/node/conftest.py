"""Connections without sockets: a wire that keeps what is written to it."""

from collections.abc import Callable
from typing import Any

import pytest
from wires import MemoryWire, Ticks

from app.node.connection import Connection
from app.node.outgoing import OutboxLimits, Outgoing


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def outgoing(ticks: Ticks) -> Outgoing:
    return Outgoing(
        ticks.call_soon, ticks.clock, OutboxLimits(frames=4, bytes=1000), ticks.observed.append
    )


Connect = Callable[..., Connection]


@pytest.fixture
def connect(outgoing: Outgoing) -> Connect:
    """Return a function that makes a connection."""
    count = 0

    def make(
        user_id: int = 1, device_id: int = 1, wire: MemoryWire | None = None, **more: Any
    ) -> Connection:
        nonlocal count
        count += 1
        more.setdefault("connection_id", f"c{count}")
        return Connection(
            wire or MemoryWire(), outgoing, user_id=user_id, device_id=device_id, **more
        )

    return make


@pytest.fixture
def wire() -> MemoryWire:
    return MemoryWire()
