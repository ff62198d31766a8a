"""The client behind `listen`: a device that shows what arrives and sends what is typed.

It reconnects by the rules of docs/protocol.md, and so is an example of a client too.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aiohttp
import orjson

from app.listen.recovery import (
    PLAIN,
    Kept,
    NoMessage,
    Progress,
    Retry,
    Start,
    Typed,
    older_follow,
)
from app.listen.signing import ListenEnded, open_session, unreachable
from app.protocol.close import SESSION_EXPIRED
from app.protocol.position import Position

# The server gives us as long: one missed ping and half an interval more.
_SILENT_HEARTBEATS: Final = 2.5
_OWN_TYPES: Final = frozenset({"connected", "position", "goaway"})
_CLOSE_SECONDS: Final = 2
_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024

# The server counts each `ack` as a message, so a replay of thousands must not cause as many.
_ACK_SECONDS: Final = 0.2


class Screen(Protocol):
    """Where a listener shows what happens."""

    def message(self, text: str, message: dict[str, Any]) -> None:
        """Show a message; `text` is its frame."""

    def frame(self, text: str, message: dict[str, Any]) -> None:
        """Show a frame that is no message: `connected`, `position` or `goaway`."""

    def state(self, sentence: str) -> None:
        """Show a change of state."""


@dataclass(frozen=True, slots=True)
class Access:
    """The address of a server, such as http://127.0.0.1:8080, and the token for it.

    `newer` is called when the token has ended, and returns the one to use from then on, if any.
    """

    url: str
    token: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    newer: Callable[[], str | None] = field(default=lambda: None, repr=False)


@dataclass(frozen=True, slots=True)
class Listening:
    """Which server to listen to, as which instance, and where to begin.

    With `acknowledge` the device's cursor follows what was shown. `kept` says how the server keeps
    typed notes.
    """

    access: Access
    instance: str = "default"
    start: Start = PLAIN
    acknowledge: bool = False
    kept: Kept = "none"


class Listener:
    """A device that connects again whenever the rules allow it.

    `left` is the number of messages that have not arrived yet, None without a `count`.
    """

    def __init__(
        self,
        listening: Listening,
        next_line: Callable[[], Awaitable[str]],
        screen: Screen,
        *,
        count: int | None = None,
        jitter: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._listening = listening
        self._token = listening.access.token
        self._owner: tuple[Any, Any] | None = None
        self._next_line = next_line
        self._screen = screen
        self.left = count
        self._sleep = sleep
        self._progress = Progress(listening.start)
        self._typed = Typed(listening.kept)
        self._retry = Retry(screen.state, jitter)
        self._unsent: str | None = None
        self._silence: float | None = None
        self._acknowledged: Position | None = None
        self._welcome = asyncio.Event()
        self._moved = asyncio.Event()
        self._held = asyncio.Event()

    async def run(self) -> None:
        """Show what arrives until `count` messages have; without a count, for ever.

        Raises ListenEnded when the server does not want this device back, or was not there at
        the first attempt.
        """
        async with open_session() as session:
            while self.left is None or self.left > 0:
                pause = await self._attempt(session)
                if pause is not None:
                    await self._sleep(pause)

    async def _attempt(self, session: aiohttp.ClientSession) -> float | None:
        """Connect once, until the connection ends; return how long to wait before the next one."""
        self._retry.asked_seconds = 0.0
        try:
            socket = await self._connect(session)
        except aiohttp.WSServerHandshakeError as refusal:
            wait = refusal.headers.get("Retry-After", "") if refusal.headers else ""
            renewed = refusal.status == 401 and self._renew()
            return self._retry.after_refusal(refusal.status, wait, renewed=renewed)
        except (aiohttp.ClientError, OSError) as error:
            return self._retry.after_failure(unreachable(self._listening.access.url, error))
        try:
            ending = await self._converse(socket)
        finally:
            await socket.close()
        if ending is None:
            return None
        renewed = ending[0] == SESSION_EXPIRED.code and self._renew()
        return self._retry.after_close(*ending, renewed=renewed)

    def _renew(self) -> bool:
        """Take another token in place of the one that has ended; False if there is none."""
        newer = self._listening.access.newer()
        if newer is None or newer == self._token:
            return False
        self._token = newer
        return True

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        access = self._listening.access
        return await session.ws_connect(
            f"{access.url}/v1/ws",
            params={"instance": self._listening.instance, **self._progress.query()},
            headers={"Authorization": f"Bearer {self._token}"},
            ssl=access.tls or True,
            max_msg_size=_MAX_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
        )

    # While connected

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str] | None:
        """Show and send until the connection ends.

        Returns the code and reason of its end; None when the listener ended it itself.
        """
        self._welcome.clear()
        self._moved.clear()
        self._held.clear()
        self._typed.release()
        self._silence = None
        # A server that was killed may have lost the last acknowledgement.
        self._acknowledged = None
        sending = [
            asyncio.create_task(self._send_typed(socket)),
            asyncio.create_task(self._send_held(socket)),
        ]
        if self._listening.acknowledge:
            sending.append(asyncio.create_task(self._acknowledge_regularly(socket)))
        try:
            return await self._show(socket)
        finally:
            for task in sending:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            if self._welcome.is_set():
                await self._acknowledge(socket)

    async def _show(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str] | None:
        while True:
            try:
                received = await socket.receive(self._silence)
            except TimeoutError:
                return aiohttp.WSCloseCode.ABNORMAL_CLOSURE, "the server went silent"
            if received.type is aiohttp.WSMsgType.CLOSE:
                return int(received.data), str(received.extra or "")
            if received.type is not aiohttp.WSMsgType.TEXT:
                return socket.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE, ""
            if not self._take(received.data):
                return None

    def _take(self, text: str) -> bool:
        """Show a frame or act on it; tell whether to go on with this connection."""
        message = _decode(text)
        if message["type"] in _OWN_TYPES:
            self._screen.frame(text, message)
            payload = message.get("payload")
            return not isinstance(payload, dict) or self._obey(message["type"], payload)
        answered = self._typed.answer(message)
        if answered is not None:
            self._screen.state(answered)
            if self._typed.hold_seconds is not None:
                self._held.set()
        elif self._progress.is_new(message):
            if self._progress.is_replay(message):
                message["replayed"] = True
            self._screen.message(text, message)
            # Only after it was shown: an unshown message must not be acknowledged.
            self._progress.shown(message)
            self._moved.set()
            if self.left is not None:
                self.left -= 1
        return self.left is None or self.left > 0

    def _obey(self, type_: str, payload: dict[str, Any]) -> bool:
        """Act on a frame of the server's own; tell whether to go on with this connection."""
        if type_ == "connected":
            return self._connected(payload)
        if type_ == "goaway":
            self._retry.asked_seconds = payload.get("after_ms", 0) / 1000
        else:
            self._progress.reached(payload)
            self._moved.set()
        return True

    def _connected(self, payload: dict[str, Any]) -> bool:
        self._retry.connected()
        owner = payload.get("user_id"), payload.get("device_id")
        if self._owner not in (None, owner):
            raise ListenEnded("The newer token is another user's or device's.")
        self._owner = owner
        self._silence = payload.get("heartbeat_seconds", 25) * _SILENT_HEARTBEATS
        resume = payload.get("resume")
        before = self._progress.position
        if isinstance(resume, dict) and not self._progress.connected(resume):
            return False
        self._screen.state(
            f"Connected to {self._listening.access.url} as device {payload.get('device_id')}, "
            f"instance {payload.get('instance')}."
        )
        if isinstance(resume, dict) and (self._progress.positioned or resume["outcome"] != "live"):
            self._screen.state(_start(resume, before))
        self._welcome.set()
        return True

    # On the way out

    async def _send_typed(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send line after line; a line that could not be sent waits for the next connection."""
        await self._welcome.wait()
        with contextlib.suppress(ConnectionError):
            await self._send_unanswered(socket)
            while True:
                if self._unsent is None:
                    self._unsent = await self._next_message()
                if self._unsent is not None:
                    if not self._typed.has_to_wait(self._unsent):
                        await socket.send_str(self._unsent)
                    self._unsent = None

    async def _next_message(self) -> str | None:
        """Wait for a typed line and return the message for it; None if there is none to send."""
        line = await self._next_line()
        try:
            return self._typed.message_of(line)
        except NoMessage as reason:
            self._screen.state(str(reason))
            return None

    async def _send_held(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send the notes for which the server had no space again, when it said it would have."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._held.wait()
                await self._sleep(self._typed.hold_seconds or 0)
                self._held.clear()
                # What is typed meanwhile still waits, so that it comes behind these.
                await self._send_unanswered(socket)
                if not self._held.is_set():
                    self._typed.release()

    async def _send_unanswered(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send every durable note that was not answered, those that are typed meanwhile too."""
        sent: set[str] = set()
        while notes := [one for one in self._typed.unanswered.values() if one not in sent]:
            for message in notes:
                await socket.send_str(message)
                sent.add(message)
                if message == self._unsent:
                    self._unsent = None

    async def _acknowledge_regularly(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            await self._acknowledge(socket)
            await asyncio.sleep(_ACK_SECONDS)

    async def _acknowledge(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Acknowledge what was shown, if the server does not know of it yet."""
        position = self._progress.acknowledgeable
        if position is None or position == self._acknowledged or not self._listening.acknowledge:
            return
        ack = {"type": "ack", "payload": {"offset": position.offset}}
        with contextlib.suppress(ConnectionError):
            await socket.send_str(orjson.dumps(ack).decode())
            self._acknowledged = position


def _decode(text: str) -> dict[str, Any]:
    """Return the message of a frame; raise ListenEnded when the frame holds none."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ListenEnded("What answers there is no Switchboard server.")
    return message


def _start(resume: dict[str, Any], wanted: Position | None) -> str:
    """Return a sentence about the place at which the server lets a connection start."""
    offset, head = resume["offset"], resume["head"]
    if resume["outcome"] == "resumed":
        return f"Resumed above {offset}; the newest is {head}."
    if resume["outcome"] == "live":
        return f"Live: nothing to resume, the newest is {head}."
    place = f"position {wanted.offset}" if wanted else "the cursor"
    if older_follow(resume):
        return (
            f"Reset: some of what followed {place} was removed. What is kept follows, "
            f"replayed up to {head}; fetch your state again."
        )
    return (
        f"Reset: {place} is none of this server's, or of a history that it has lost. "
        f"It goes on live from {offset}; fetch your state again."
    )
