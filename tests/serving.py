"""The whole server on a free port of this machine, and peers that talk to it from outside."""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from app.application import build_application
from app.base.listening import bind
from app.keys import ACCOUNTS, DATABASE, MANAGER, NODE
from app.node.registry import ConnectionManager
from app.settings import Settings
from app.web.gate import listening
from scripts.unlimited import UNLIMITED
from tests.databases import PASSWORD, add_person, place_database

__all__ = ["PASSWORD", "PATIENCE", "Device", "Peer", "RawPeer", "Server", "masked"]

PATIENCE = 120
"""Seconds after which a test gives up on what should happen at once, on a machine that is busy.

Nothing here takes a second by itself; other work on the machine may stretch it a hundred times.
"""

NO_LIMITS = {name.lower(): int(value) for name, value in UNLIMITED.items()}
"""Settings of a server that takes whatever it is sent."""


class Peer:
    """A strict WebSocket client (the websockets library), one JSON object a message."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws

    async def send(self, type_: str, payload: Any = None, **more: Any) -> None:
        await self.ws.send(json.dumps({"type": type_, "payload": payload, **more}))

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        text = await asyncio.wait_for(self.ws.recv(), PATIENCE)
        assert isinstance(text, str)
        message = json.loads(text)
        assert isinstance(message, dict)
        return message

    async def ask(self, type_: str, payload: Any = None, id_: str = "ask") -> dict[str, Any]:
        """Send with an id and return the next message, which must be its answer."""
        await self.send(type_, payload, id=id_)
        answer = await self.receive()
        assert answer.get("reply_to") == id_
        return answer

    async def closed(self) -> tuple[int, str]:
        """Wait until the server closes; return code and reason. What comes before is read."""
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionClosed):
                while True:
                    await self.ws.recv()
        assert self.ws.close_code is not None
        assert self.ws.close_code != 1006, "the connection ended without a close frame"
        return self.ws.close_code, self.ws.close_reason or ""

    async def silence(self) -> None:
        """Check that nothing waits: a ping is answered before anything else."""
        assert (await self.ask("ping", id_="silence"))["type"] == "pong"

    async def close(self) -> None:
        await self.ws.close()

    async def drop(self) -> None:
        """Cut the line; a close would wait for a peer that does not read."""
        self.ws.transport.abort()
        await self.ws.wait_closed()


@dataclass
class Device:
    """A signed-in device."""

    token: str
    user_id: int
    device_id: int
    session_id: int

    @property
    def by_header(self) -> dict[str, str]:
        return {"Authorization": self.token}


class Server:
    """The whole server; an async context manager."""

    def __init__(
        self,
        data_dir: Path,
        tls: ssl.SSLContext | None = None,
        client_tls: ssl.SSLContext | None = None,
        max_sockets: int | None = None,
        **options: Any,
    ) -> None:
        # Compressing the built app takes longer than all else that a start does.
        self.settings = Settings(data_dir=data_dir, **{"web_app": "off", **options})
        self.app = build_application(self.settings, max_sockets=max_sockets)
        self._runner = web.AppRunner(self.app, shutdown_timeout=0.5)
        self._tls = tls
        self.client_tls = client_tls
        self._users: dict[str, int] = {}
        self._peers: list[Peer] = []
        self._raw_peers: list[RawPeer] = []

    async def __aenter__(self) -> Self:
        place_database(self.settings.data_dir)
        await self._runner.setup()
        (listener,) = await bind("127.0.0.1", 0, self.settings.stall_seconds)
        self.port: int = listener.getsockname()[1]
        self._listening = listening(self._runner, self.app, [listener], self._tls)
        self.gate = (await self._listening.__aenter__()).gate
        return self

    async def __aexit__(self, *_: object) -> None:
        # None of them would answer the close.
        for raw in self._raw_peers:
            raw.abort()
        # aiohttp reads nothing any more once its cleanup has begun, no close frame either.
        await self.app[NODE].close_all(PATIENCE)
        await self._listening.__aexit__(None, None, None)
        await self._runner.cleanup()
        await self.forget_peers()

    async def forget_peers(self) -> None:
        """Cut off every peer there was, and keep none of them."""
        for peer in self._peers:
            await peer.drop()
        for raw in self._raw_peers:
            await raw.drop()
        self._peers.clear()
        self._raw_peers.clear()

    def add_raw(self, peer: "RawPeer") -> None:
        """Drop this peer when the server has stopped."""
        self._raw_peers.append(peer)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def manager(self) -> ConnectionManager:
        return self.app[MANAGER]

    async def user(self, handle: str, roles: Sequence[str] = ()) -> int:
        """Return the id of the user, who is made when asked for first."""
        if handle not in self._users:
            made = await add_person(self.app[DATABASE], handle, roles)
            self._users[handle] = made.id
        return self._users[handle]

    async def device(self, name: str = "phone", handle: str = "ada") -> Device:
        """Return a device of the user, signed in."""
        user_id = await self.user(handle)
        issued = await self.app[ACCOUNTS].issue_token(user_id, f"uuid-{name}-{handle}", "web")
        self.end(issued.ended)
        assert issued.device is not None
        return Device(issued.token, user_id, issued.device.id, issued.session_id)

    def end(self, ended: Any) -> None:
        """Close the connections of what an account method has ended, as a route does."""
        for selector, close in ended:
            self.app[NODE].disconnect(selector, close)

    async def open(
        self,
        device: Device | None = None,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Peer:
        """Upgrade and return the peer, before it has read anything."""
        sent = {**(device.by_header if device else {}), **(headers or {})}
        origin = sent.pop("Origin", None)
        options.setdefault("ping_interval", None)
        options.setdefault("open_timeout", PATIENCE)
        ws = await connect(
            f"{'wss' if self._tls else 'ws'}://{self.host}/v1/ws{query}",
            additional_headers=sent,
            origin=origin,
            compression=None,
            proxy=None,
            ssl=self.client_tls,
            **options,
        )
        peer = Peer(ws)
        self._peers.append(peer)
        return peer

    async def connect(self, device: Device, query: str = "", **options: Any) -> Peer:
        """Upgrade and return the peer after its `connected`, and its `position` as an instance."""
        peer = await self.open(device, query, **options)
        assert (await peer.receive())["type"] == "connected"
        if query.startswith("?instance=") and "&" not in query:
            assert (await peer.receive())["type"] == "position"
        return peer

    async def until(self, condition: Any) -> None:
        """Wait until the condition holds; it is looked at after every turn of the loop."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 (nothing announces it)
                await asyncio.sleep(0.001)


class RawPeer:
    """A peer that writes whatever bytes a test wants, and reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def upgrade(
        cls,
        server: Server,
        device: Device,
        limit: int = 65_536,
        *,
        query: str = "",
        headers: str = "",
    ) -> "RawPeer":
        """Return a peer after the 101; each of the headers ends with CR and LF."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", server.port, limit=limit, ssl=server.client_tls
        )
        peer = cls(reader, writer)
        server.add_raw(peer)
        key = base64.b64encode(os.urandom(16)).decode()
        peer.write(
            f"GET /v1/ws{query} HTTP/1.1\r\nHost: {server.host}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Authorization: {device.token}\r\n{headers}\r\n".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            assert first & 0x80
            assert not size & 0x80
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """Read up to the close frame and return its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def ended(self) -> None:
        """Wait until the server has dropped the connection, reading what comes before."""
        async with asyncio.timeout(PATIENCE):
            try:
                while await self.reader.read(65_536):
                    pass
            except ConnectionError:
                pass

    def abort(self) -> None:
        self.writer.transport.abort()

    async def drop(self) -> None:
        self.abort()
        with suppress(OSError):
            await self.writer.wait_closed()


def masked(payload: bytes, opcode: int = 1, fin: bool = True) -> bytes:
    """Return a client's frame with a mask of zeros."""
    first = opcode | (0x80 if fin else 0)
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload
