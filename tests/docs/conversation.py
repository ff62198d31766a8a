"""Plays the examples of a page against a real server."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

from serving import PATIENCE, Device, Peer, Server

from app.keys import NODE
from app.websocket.close import CLOSES
from app.websocket.messages import ClientMessage, decode
from tests.docs.pages import Example

VOLATILE = frozenset(
    {"token", "connection_id", "epoch", "server_version", "created_at", "last_seen", "connected_at"}
)
"""Keys whose values differ from run to run: here only their JSON type counts."""

QUERIES = {"tablet": "?resume=live"}
"""The tablet is the positioned one."""


def steady(value: Any, key: str = "") -> Any:
    """Return the value with what differs from run to run replaced by the name of its type."""
    if key in VOLATILE:
        return type(value).__name__
    if isinstance(value, dict):
        return {name: steady(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [steady(one) for one in value]
    return value


def alike(value: Any) -> str:
    """Return the JSON text of what is steady: 25 is not 25.0 there, and keys have an order."""
    return json.dumps(steady(value), indent=1)


@dataclass
class Frames:
    """Devices that say what the page says, and compare what they hear with it."""

    server: Server
    devices: dict[str, Device]
    peers: dict[str, Peer] = field(default_factory=dict)

    async def play(self, example: Example) -> None:
        side, _, name = example.role.partition(" ")
        if side == "client":
            peer = await self.peer(name)
            await peer.ws.send(example.text.strip())
            return
        expected = example.json
        if expected["type"] == "connected":
            self.peers[name] = await self.server.open(self.devices[name], QUERIES.get(name, ""))
        peer = await self.peer(name)
        if expected["type"] == "goaway":
            self._end(name, expected["payload"])
        heard = await peer.receive()
        assert alike(heard) == alike(expected)

    async def peer(self, name: str) -> Peer:
        """Return the device's connection, which is made when it is asked for first."""
        if name not in self.peers:
            query = QUERIES.get(name, "")
            self.peers[name] = await self.server.connect(self.devices[name], query)
        return self.peers[name]

    def _end(self, name: str, payload: dict[str, Any]) -> None:
        close = next(one for one in CLOSES if one.reason == payload["reason"])
        assert payload["reconnect"] is close.reconnect
        for connection in self.server.app[NODE].manager.connections():
            if connection.device_id == self.devices[name].device_id:
                connection.disconnect(close, after_ms=payload["after_ms"])


def client_message(example: Example) -> ClientMessage:
    """Return what the server's decoder makes of a client's example."""
    return decode(example.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: real, or as a page shows it."""

    status: str
    headers: list[tuple[str, str]]
    body: str


def read_answer(text: str) -> Answer:
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.strip().split("\n")
    headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
    return Answer(status, headers, body)


@dataclass
class Requests:
    """A client that sends what the page shows, with the real token in place of TOKEN."""

    server: Server
    token: str = ""
    sockets: list[asyncio.StreamWriter] = field(default_factory=list)

    async def play(self, request: Example, answer: Example) -> None:
        expected = read_answer(answer.text)
        real = read_answer(await self._exchange(request))
        assert real.status == expected.status, real
        for name, value in expected.headers:
            wanted = re.compile("[^;]*".join(map(re.escape, value.split("…"))))
            found = [one for other, one in real.headers if other == name]
            assert any(wanted.fullmatch(one) for one in found), (name, value, found)
        if not expected.body.strip():
            assert not real.body
            return
        shown, given = json.loads(expected.body), json.loads(real.body)
        assert alike(given) == alike(shown)
        self.token = given.get("token", self.token)

    async def _exchange(self, request: Example) -> str:
        head, _, body = request.text.strip().partition("\n\n")
        lines = head.replace("TOKEN", self.token).split("\n")
        upgrade = "Upgrade: websocket" in lines
        if not upgrade:
            lines += ["Connection: close", f"Content-Length: {len(body.encode())}"]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.sockets.append(writer)
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        read = reader.readuntil(b"\r\n\r\n") if upgrade else reader.read()
        answer = (await asyncio.wait_for(read, PATIENCE)).decode()
        if "origin:" in head.lower():
            # The page's second socket: the devices below are shown with the first one only.
            writer.transport.abort()
        return answer

    def close(self) -> None:
        for writer in self.sockets:
            writer.transport.abort()
