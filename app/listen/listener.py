"""The client behind `listen`: a device that shows what arrives and sends what is typed.

It comes back by the rules of docs/protocol.md, so it also shows what a client has to do.
"""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import aiohttp
import orjson

from app.listen.signing import ListenEnded, open_session, unreachable
from app.websocket.close import CLOSES

MAX_BACKOFF_SECONDS: Final = 30

# As the server judges us: one missed ping and half an interval more.
_SILENT_HEARTBEATS: Final = 2.5
_UNSEEN_BY_THE_USER: Final = frozenset({"connected", "position", "goaway"})
_COME_BACK_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_CLOSE_SECONDS: Final = 2
_MAX_FRAME_BYTES: Final = 64 * 1024 * 1024


class Screen(Protocol):
    """Where a listener shows what happens."""

    def message(self, text: str, message: dict[str, Any]) -> None:
        """Show a message; `text` is its frame."""

    def state(self, sentence: str) -> None:
        """Show a change of state."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen and as whom; `url` is the server's, such as http://127.0.0.1:8080."""

    url: str
    token: str = field(repr=False)
    instance: str = "default"
    tls: ssl.SSLContext | None = None


class Listener:
    """A device's connection that is made again whenever the rules allow it.

    `left` is how many messages are still to arrive, None without a `count`.
    """

    def __init__(
        self,
        listening: Listening,
        next_line: Callable[[], Awaitable[str]],
        screen: Screen,
        *,
        count: int | None = None,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._listening = listening
        self._next_line = next_line
        self._screen = screen
        self.left = count
        self._jitter = jitter
        self._sleep = sleep
        self._unsent: str | None = None
        self._typed = 0
        self._failures = 0
        self._was_connected = False
        self._silence: float | None = None
        self._after_seconds = 0.0

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
        """Connect once and converse; return how long to wait before the next time."""
        self._after_seconds = 0.0
        try:
            socket = await self._connect(session)
        except aiohttp.WSServerHandshakeError as refusal:
            return self._pause_after_refusal(refusal)
        except (aiohttp.ClientError, OSError) as error:
            return self._pause_after_failure(error)
        try:
            ending = await self._converse(socket)
        finally:
            await socket.close()
        return None if ending is None else self._pause_after_close(*ending)

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        listening = self._listening
        return await session.ws_connect(
            f"{listening.url}/v1/ws",
            params={"instance": listening.instance},
            headers={"Authorization": f"Bearer {listening.token}"},
            ssl=listening.tls or True,
            max_msg_size=_MAX_FRAME_BYTES,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_SECONDS),
        )

    # While connected

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str] | None:
        """Return the code and reason of the end, or None when enough has arrived."""
        typing = asyncio.create_task(self._send_typed(socket))
        try:
            return await self._show(socket)
        finally:
            typing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await typing

    async def _show(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str] | None:
        self._silence = None
        while True:
            try:
                received = await socket.receive(self._silence)
            except TimeoutError:
                return aiohttp.WSCloseCode.ABNORMAL_CLOSURE, "the server went silent"
            if received.type is aiohttp.WSMsgType.CLOSE:
                return int(received.data), str(received.extra or "")
            if received.type is not aiohttp.WSMsgType.TEXT:
                return socket.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE, ""
            self._take(received.data)
            if self.left is not None and self.left <= 0:
                return None

    def _take(self, text: str) -> None:
        message = _decode(text)
        if not self._own(message):
            self._screen.message(text, message)
            if self.left is not None:
                self.left -= 1

    def _own(self, message: dict[str, Any]) -> bool:
        """Act on what is meant for the listener itself and tell whether it was."""
        payload = message.get("payload")
        if message["type"] == "connected" and isinstance(payload, dict):
            self._connected(payload)
        elif message["type"] == "goaway" and isinstance(payload, dict):
            self._after_seconds = payload.get("after_ms", 0) / 1000
        elif str(message.get("reply_to", "")).startswith("typed-"):
            self._screen.state(_answer(message["type"], payload))
            return True
        return message["type"] in _UNSEEN_BY_THE_USER

    def _connected(self, payload: dict[str, Any]) -> None:
        self._failures = 0
        self._was_connected = True
        self._silence = payload.get("heartbeat_seconds", 25) * _SILENT_HEARTBEATS
        self._screen.state(
            f"Connected to {self._listening.url} as device {payload.get('device_id')}, "
            f"instance {payload.get('instance')}."
        )

    async def _send_typed(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send line after line; one that could not be sent waits for the next connection."""
        while True:
            if self._unsent is None:
                self._unsent = self._message_of(await self._next_line())
            if self._unsent is not None:
                try:
                    await socket.send_str(self._unsent)
                except ConnectionError:
                    return
                self._unsent = None

    def _message_of(self, line: str) -> str | None:
        """Return what a typed line means: itself if it is a message, else a note to the others."""
        text = line.strip()
        if not text:
            return None
        with contextlib.suppress(orjson.JSONDecodeError):
            record = orjson.loads(text)
            if isinstance(record, dict) and isinstance(record.get("type"), str):
                return text
        self._typed += 1
        note = {"to": "others", "type": "note.text", "payload": {"text": text}}
        message = {"type": "device.send", "id": f"typed-{self._typed}", "payload": note}
        return orjson.dumps(message).decode()

    # Coming back

    def _pause_after_close(self, code: int, reason: str) -> float:
        known = next((one for one in CLOSES if (one.code, one.reason) == (code, reason)), None)
        meaning = known.meaning if known else "The connection was lost."
        if not may_come_back(code):
            raise ListenEnded(f"Closed with {code} {reason}: {meaning}")
        return self._pause(f"Closed with {code} {reason}: {meaning}", self._after_seconds)

    def _pause_after_refusal(self, refusal: aiohttp.WSServerHandshakeError) -> float:
        if refusal.status == 401:
            raise ListenEnded("The session is over or was never valid (401): sign in again.")
        if refusal.status not in _COME_BACK_STATUSES:
            raise ListenEnded(f"The server refused the connection with status {refusal.status}.")
        wait = refusal.headers.get("Retry-After", "") if refusal.headers else ""
        floor = float(wait) if wait.isascii() and wait.isdigit() else 0.0
        return self._pause(f"The server is busy ({refusal.status}).", floor)

    def _pause_after_failure(self, error: aiohttp.ClientError | OSError) -> float:
        sentence = unreachable(self._listening.url, error)
        if not self._was_connected:
            raise ListenEnded(sentence) from None
        return self._pause(sentence)

    def _pause(self, sentence: str, floor: float = 0.0) -> float:
        """Return a wait of full jitter above the floor: many who were cut off come back spread."""
        ceiling = min(MAX_BACKOFF_SECONDS, 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        pause = floor + self._jitter() * ceiling
        self._screen.state(f"{sentence} Trying again in {pause:.1f} s.")
        return pause


def may_come_back(code: int) -> bool:
    """Tell whether a close code lets a client reconnect: by the table, else by its range."""
    known = [close.reconnect for close in CLOSES if close.code == code]
    return any(known) if known else not 4500 <= code < 5000


def _decode(text: str) -> dict[str, Any]:
    """Return the message of a frame; raise ListenEnded when it is none."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ListenEnded("What answers there is no Switchboard server.")
    return message


def _answer(type_: str, payload: Any) -> str:
    if type_ == "ok":
        devices = ", ".join(map(str, payload.get("delivered", [])))
        return f"Delivered to device {devices}." if devices else "No other device is connected."
    return f"Refused: {payload.get('message', type_)}."
