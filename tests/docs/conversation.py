"""Plays the examples of a page against a real server."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

from serving import PATIENCE, Device, Peer, Server
from sqlalchemy import Connection, delete, insert

from app.keys import ACCOUNTS, DATABASE, NODE
from app.protocol.close import CLOSES
from app.protocol.messages import ClientMessage, decode
from app.protocol.publication import Publication, ToDevice
from app.storage.schema import floors, messages
from tests.docs.pages import Example

VOLATILE = frozenset(
    {
        "token",
        "password",
        "connection_id",
        "epoch",
        "server_version",
        "created_at",
        "time",
        "started_at",
        "heard_seconds",
        "last_seen",
        "connected_at",
        "began_at",
        "last_at",
        "expires_in",
    }
)
"""Keys whose values differ from run to run: here only their JSON type counts."""

QUERIES = {"tablet": "?resume=live"}
"""The tablet is positioned, without the page showing how it connects."""

EPOCH = "qKDrE0-uRhVb2Pqw"
"""The epoch that the pages show; a test replaces it by the server's."""

TEXT = f"{EPOCH}.1f8c0e6a94b7d2535ae0c7198b3f4d26"
"""Stands in the pages for the text that clients keep, which names the generation too."""

FILLER = "filler.x"
"""Type of the messages that fill an outbox; no page shows it."""


def steady(value: Any, key: str = "") -> Any:
    """Return the value with what differs from run to run replaced by the name of its type."""
    if key in VOLATILE:
        return type(value).__name__
    if isinstance(value, dict):
        return {name: steady(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [steady(one) for one in value]
    return value


def epochs(message: dict[str, Any]) -> list[str]:
    """Return each epoch that the message names."""
    payload = message["payload"]
    if not isinstance(payload, dict):
        return []
    named = [payload, payload.get("resume", {})]
    return [one["epoch"] for one in named if "epoch" in one]


def alike(value: Any) -> str:
    """Return the JSON text of what is steady; 25 differs from 25.0, and keys have an order."""
    return json.dumps(steady(value), indent=1)


async def remove(server: Server, user_id: int, upto: int) -> None:
    """Remove the user's messages up to this offset, `latest` values apart, as retention does."""
    gone = messages.c.user_id == user_id, messages.c.key.is_(None), messages.c.offset <= upto

    def work(connection: Connection) -> None:
        connection.execute(delete(messages).where(*gone))
        connection.execute(insert(floors).values(user_id=user_id, offset=upto))

    await server.app[DATABASE].transact(work)
    server.app[NODE].delivery.standings.raise_floors({user_id: upto})


@dataclass
class Frames:
    """Devices that send what a page shows, and compare with it what they receive."""

    server: Server
    devices: dict[str, Device]
    peers: dict[str, Peer] = field(default_factory=dict)

    async def play(self, example: Example) -> None:
        role, _, name = example.role.partition(" ")
        if example.language == "cue":
            await self._follow(*example.role.split(" ", 1))
        elif role == "connect":
            await self._connect(name, self._real(example.text))
        elif role == "client":
            peer = await self.peer(name)
            await peer.ws.send(example.text.strip().replace("TOKEN", self.devices[name].token))
        else:
            await self._expect(name, json.loads(self._real(example.text)))

    async def _expect(self, name: str, expected: dict[str, Any]) -> None:
        if expected["type"] == "connected" and name not in self.peers:
            self.peers[name] = await self.server.open(self.devices[name])
        peer = await self.peer(name)
        if expected["type"] == "goaway":
            self._end(name, expected["payload"])
        heard = await peer.receive()
        while heard["type"] == FILLER:
            heard = await peer.receive()
        assert alike(heard) == alike(expected)
        assert epochs(heard) == epochs(expected)

    async def peer(self, name: str) -> Peer:
        """Return the device's connection, which is made when it is asked for first."""
        if name not in self.peers:
            query = QUERIES.get(name, "")
            peer = self.peers[name] = await self.server.connect(self.devices[name], query)
            if query:
                assert (await peer.receive())["type"] == "position"
        return self.peers[name]

    def _real(self, text: str) -> str:
        numbering = self.server.app[NODE].log.numbering
        return text.replace(TEXT, numbering.text).replace(EPOCH, numbering.epoch)

    async def _connect(self, name: str, request: str) -> None:
        found = re.fullmatch(r"GET /v1/ws(\S*) HTTP/1.1\n", request)
        assert found is not None, request
        peer = await self.server.open(self.devices[name], found[1], max_queue=1)
        self.peers[name] = peer

    async def _follow(self, name: str, cue: str) -> None:
        if cue == "comes":
            await self.peer(name)
        elif cue == "is renamed":
            device = self.devices[name]
            accounts = self.server.app[ACCOUNTS]
            await accounts.rename_device(device.user_id, device.device_id, name)
        elif cue == "leaves":
            left = len(self.server.manager.connections()) - 1
            await self.peers.pop(name).close()
            await self.server.until(lambda: len(self.server.manager.connections()) == left)
        elif cue.startswith("loses all up to "):
            await remove(self.server, self.devices[name].user_id, int(cue.rpartition(" ")[2]))
        elif cue == "stops reading":
            await self._stop_reading(name)
        else:
            assert cue == "reads again", cue
            self.peers[name].ws.transport.resume_reading()

    async def _stop_reading(self, name: str) -> None:
        """Stop the device from reading, and fill its outbox."""
        self.peers[name].ws.transport.pause_reading()
        device, node = self.devices[name], self.server.app[NODE]
        # Large ones until the system takes no more of them, small ones into the last gap.
        for size, refusals in ((60_000, 50), (1, 1)):
            payload = "." * size
            send = Publication(ToDevice(device.user_id, device.device_id), FILLER, payload)
            while refusals:
                refusals -= len(node.send(send).failed)
                await asyncio.sleep(0)

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
