"""A server that does what a test tells it, and a listener whose screen and pauses are kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from serving import PATIENCE

from app.listen.listener import Access, Listener, Listening

TOKEN = "a-token-of-a-test"

Visit = Callable[[web.Request], Awaitable[web.StreamResponse]]


def connected(**more: Any) -> dict[str, Any]:
    """The first frame of every connection."""
    payload = {"device_id": 1, "instance": "default", "heartbeat_seconds": 25}
    return {"type": "connected", "payload": {**payload, **more}}


def note(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"type": "note.text", "payload": {"text": text}, **more}


def started(outcome: str, offset: int, head: int = 0, epoch: str = "e") -> dict[str, Any]:
    """The first frame of a connection that starts there."""
    resume = {"outcome": outcome, "epoch": epoch, "offset": offset, "head": max(head, offset)}
    return connected(resume=resume)


def position(offset: int, epoch: str = "e") -> dict[str, Any]:
    return {"type": "position", "payload": {"epoch": epoch, "offset": offset, "live": True}}


@dataclass
class Screen:
    """Keeps what is shown."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    def message(self, text: str, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def frame(self, text: str, message: dict[str, Any]) -> None:
        self.frames.append(message)

    def state(self, sentence: str) -> None:
        self.states.append(sentence)


class World:
    """A server whose n-th visitor meets the n-th visit, and a listener that visits it.

    `on_pause` is called whenever the listener waits, and `during_pause` is how long that takes.
    """

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.requests: list[web.Request] = []
        self.received: asyncio.Queue[str] = asyncio.Queue()
        self.lines: asyncio.Queue[str] = asyncio.Queue()
        self.screen = Screen()
        self.pauses: list[float] = []
        self.on_pause: Callable[[], None] = lambda: None
        self.during_pause: Callable[[], Awaitable[None]] | None = None
        app = web.Application()
        app.router.add_get("/v1/ws", self._visited)
        self.server = TestServer(app)
        self.url = ""

    def meets(self, *visits: Visit) -> "World":
        """Have the next visitors met by these."""
        self.visits += visits
        return self

    @property
    def queries(self) -> list[dict[str, str]]:
        """What each connection asked for, the instance apart."""
        asked = [dict(request.query) for request in self.requests]
        for query in asked:
            assert query.pop("instance") == "default"
        return asked

    async def listen(self, count: int | None = None, jitter: float = 0.5, **more: Any) -> None:
        """Listen until the end; `newer` are the tokens that there are when one has ended."""
        newer = iter(more.pop("newer", ()))
        access = Access(self.url, TOKEN, newer=lambda: next(newer, None))
        listener = Listener(
            Listening(access, **more),
            self.lines.get,
            self.screen,
            count=count,
            jitter=lambda: jitter,
            sleep=self._pause,
        )
        async with asyncio.timeout(PATIENCE):
            await listener.run()

    async def _visited(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.visits.pop(0)(request)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.on_pause()
        if self.during_pause is not None:
            await self.during_pause()

    # Visits

    def refuses(self, status: int, **headers: str) -> Visit:
        """Answer the upgrade with this status."""

        async def visit(request: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, headers=named)

        return visit

    def sends(self, *messages: dict[str, Any], close: tuple[int, bytes] | None = None) -> Visit:
        """Send these, then close with the code and reason; without them, cut the line."""

        async def visit(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            for message in messages:
                await socket.send_json(message)
            if close is not None:
                await socket.close(code=close[0], message=close[1])
            elif request.transport is not None:
                request.transport.abort()
            return socket

        return visit

    def cuts_without_reading(self) -> Visit:
        """Say connected, read nothing and cut the line."""

        async def visit(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json(connected())
            assert request.transport is not None
            request.transport.pause_reading()  # type: ignore[attr-defined]
            request.transport.abort()
            return socket

        return visit

    def falls_silent(self) -> Visit:
        """Say connected with a very short heartbeat, then nothing more."""

        async def visit(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await socket.send_json(connected(heartbeat_seconds=0.01))
            await socket.receive()
            return socket

        return visit

    def hears(
        self, lines: int, *answers: dict[str, Any], close: tuple[int, bytes] | None = None
    ) -> Visit:
        """Say connected, keep that many lines in `received`, send the answers and a note.

        Or close with code and reason instead of the note.
        """

        async def visit(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(max_msg_size=0)
            await socket.prepare(request)
            await socket.send_json(connected())
            for _ in range(lines):
                self.received.put_nowait(await socket.receive_str())
            for answer in answers:
                await socket.send_json(answer)
            if close is not None:
                await socket.close(code=close[0], message=close[1])
                return socket
            await socket.send_json(note())
            await socket.receive()
            return socket

        return visit

    def keeps_what_it_hears(self, *messages: dict[str, Any]) -> Visit:
        """Send these, then keep every line in `received` until the listener leaves."""

        async def visit(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            for message in messages:
                await socket.send_json(message)
            async for frame in socket:
                self.received.put_nowait(frame.data)
            return socket

        return visit


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.server.start_server()
    world.url = str(world.server.make_url("")).rstrip("/")
    yield world
    await world.server.close()
