"""What the interpreter does on the hot path, from the bytes that arrive to those that leave.

The database's threads are left out: a profile is of one thread.
"""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from serving import RawPeer, Server, masked

from tests.costs import bounds
from tests.costs.python_calls import fewest_calls

AT_ONCE = 64
PLENTY = 1_000_000_000


class Company:
    """A user's devices, of which the first one speaks."""

    def __init__(self, server: Server, away: int) -> None:
        self._server = server
        self._away = away
        self.peers: list[RawPeer] = []

    async def grow(self, size: int) -> None:
        """Return when there are so many of them."""
        for number in range(len(self.peers), size):
            device = await self._server.device(f"device-{number}")
            peer = await RawPeer.upgrade(self._server, device)
            await peer.frame()
            self.peers.append(peer)

    async def relay(self) -> None:
        """One message to the others, which all of them have read."""
        self.peers[0].write(sending())
        await read(self.peers[1:])

    async def relay_in_vain(self) -> None:
        """One message to a device that is away, and its answer."""
        self.peers[0].write(sending(to=self._away, id="1"))
        await read(self.peers[:1])

    async def keep(self) -> None:
        """Some durable messages at once, which all have read, and whose answers the first has."""
        self.peers[0].write(sending(store="log", id="1") * AT_ONCE)
        await read(self.peers, AT_ONCE)

    async def ping(self) -> None:
        """One ping and its answer."""
        self.peers[0].write(masked(b'{"type":"ping"}'))
        await read(self.peers[:1])


def sending(id: str | None = None, **more: Any) -> bytes:
    payload = {"to": "others", "type": "bench.tick", "payload": {"n": 1}, **more}
    message = {"type": "device.send", "payload": payload} | ({"id": id} if id else {})
    return masked(json.dumps(message).encode())


async def read(peers: Sequence[RawPeer], frames: int = 1) -> None:
    for peer in peers:
        for _ in range(frames):
            await peer.frame()


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    """Five devices of a user, and one that is away; what they send is counted, never too much."""
    limits = dict.fromkeys(("messages_per_second", "messages_burst", "bytes_per_second"), PLENTY)
    limits |= dict.fromkeys(("durable_per_second", "durable_burst"), PLENTY)
    of_user = ("messages", "bytes", "deliveries", "durable")
    limits |= {f"user_{what}_{how}": PLENTY for what in of_user for how in ("per_second", "burst")}
    most = {"max_devices_per_user": 200, "max_sessions_per_user": 200}
    async with Server(tmp_path, **limits, **most, close_seconds=0.1) as server:
        away = await server.device("away")
        company = Company(server, away.device_id)
        await company.grow(5)
        yield company


async def test_a_relayed_message_costs_no_more_calls_than_it_did(company: Company) -> None:
    found = await fewest_calls(company.relay)
    bounds.RELAYED.check(found.total(), 1, found)


async def test_a_further_receiver_costs_little_more_than_its_write(company: Company) -> None:
    await company.grow(11)
    few = await fewest_calls(company.relay)
    await company.grow(111)
    found = await fewest_calls(company.relay)
    found.subtract(few)
    bounds.RECEIVER.check(found.total(), 100, +found)


async def test_a_message_to_a_device_that_is_away_costs_no_more_calls_than_it_did(
    company: Company,
) -> None:
    found = await fewest_calls(company.relay_in_vain)
    bounds.AWAY.check(found.total(), 1, found)


async def test_a_ping_costs_no_more_calls_than_it_did(company: Company) -> None:
    found = await fewest_calls(company.ping)
    bounds.PINGED.check(found.total(), 1, found)


async def test_a_durable_message_costs_no_more_calls_than_it_did(company: Company) -> None:
    found = await fewest_calls(company.keep)
    bounds.DURABLE.check(found.total(), AT_ONCE, found)
