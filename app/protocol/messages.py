"""Messages: one JSON object per text frame, `{"type", "payload"}`; docs/protocol.md has them all.

Pure: text in, values out; values in, bytes out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import orjson

from app.protocol.frames import frame

MAX_TYPE_LENGTH: Final = 128
MAX_ID_LENGTH: Final = 64

STEP_LENGTH: Final = 65_536
"""Characters that are searched in one go for integers that do not fit into 64 bits."""

SYSTEM_TYPES: Final = frozenset(
    {"connected", "position", "ping", "pong", "ok", "ack", "error", "goaway"}
)
"""Types of the server's own; nobody may send them to others."""

SERVER_PREFIXES: Final = SYSTEM_TYPES | {"device", "presence", "token"}
"""Prefixes that nobody may give to a message for others: the server refuses them everywhere."""

RESERVED_PREFIXES: Final = frozenset({"sync", "playback", "notification"})
"""Prefixes of features of ours, some yet to come: a backend may send them, a device may not."""

_MARK = "\ufeff"
"""A byte order mark, with which some programs begin a text."""

_TYPE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")
_BOUNDARY = re.compile(r"[^0-9.eE+-]")
# Begins at what stands before a number, so that a search reads no digit twice.
_LONG_INTEGER = re.compile(r"[^0-9.eE+-](?:-[0-9]{19,}+|[0-9]{20,}+)(?![.eE])")
_MAX_DIGITS = len(str(-(1 << 63)))
_EVERY_SIXTH_OF_IT = re.compile(r"[0-9]{3}")


Mark = Literal["snapshot", "replayed"]
"""How a durable message comes that is not new: as a value of a snapshot, or again after `reset`."""


class MessageError(Exception):
    """Refuses a message; `code` and the text go into the `error` that answers it."""

    def __init__(self, code: str, message: str, reply_to: str | None = None) -> None:
        self.code = code
        self.message = message
        self.reply_to = reply_to
        super().__init__(message)


@dataclass(slots=True)
class ClientMessage:
    """What a client sent; `payload` is None when it was left out."""

    type: str
    payload: Any = None
    id: str | None = None


@dataclass(slots=True)
class Source:
    """The device and instance that a relayed message comes from; never changed once made."""

    device_id: int
    instance: str


class ServerMessage:
    """What the server sends; `frame` is built once, however many connections get it."""

    __slots__ = ("_frame", "payload", "reply_to", "source", "type")

    def __init__(
        self,
        type: str,
        payload: Any = None,
        *,
        reply_to: str | None = None,
        source: Source | None = None,
    ) -> None:
        self.type = type
        self.payload = payload
        self.reply_to = reply_to
        self.source = source
        self._frame: bytes | None = None

    @property
    def frame(self) -> bytes:
        """The complete, unmasked WebSocket text frame."""
        if self._frame is None:
            self._frame = frame(encode(self))
        return self._frame


@dataclass(slots=True)
class Resume:
    """Where a connection starts: from `offset` on, with `head` the newest one.

    `epoch` is the text that names the epoch and its newest generation. After a `reset` below
    `head`, messages up to `head` follow as replayed ones.
    """

    outcome: Literal["resumed", "live", "reset"]
    epoch: str
    offset: int
    head: int


@dataclass(slots=True)
class Connected:
    """Payload of `connected`, the first frame of every connection."""

    device_id: int
    server_version: str
    user_id: int
    connection_id: str
    instance: str
    heartbeat_seconds: int | float
    max_message_bytes: int
    resume: Resume
    expires_in: int | None = None
    """Whole seconds until the token of the connection ends; None if it does not."""


def connected(payload: Connected) -> ServerMessage:
    """Return the message that opens every connection."""
    # As dicts: orjson takes six times as long for the dataclasses.
    resume = payload.resume
    told: dict[str, Any] = {
        "device_id": payload.device_id,
        "server_version": payload.server_version,
        "user_id": payload.user_id,
        "connection_id": payload.connection_id,
        "instance": payload.instance,
        "heartbeat_seconds": payload.heartbeat_seconds,
        "max_message_bytes": payload.max_message_bytes,
    }
    if payload.expires_in is not None:
        told["expires_in"] = payload.expires_in
    told["resume"] = {
        "outcome": resume.outcome,
        "epoch": resume.epoch,
        "offset": resume.offset,
        "head": resume.head,
    }
    return ServerMessage("connected", told)


def ping() -> ServerMessage:
    """Return the application's `ping`; clients send it, the server answers `pong`."""
    return ServerMessage("ping")


def pong(reply_to: str | None = None) -> ServerMessage:
    """Return the answer to `ping`."""
    return ServerMessage("pong", reply_to=reply_to)


def ok(
    reply_to: str, delivered: list[int], stored: tuple[str, int, bool] | None = None
) -> ServerMessage:
    """Return the answer to a message with an `id` that was accepted.

    Of a durable one `stored` tells epoch, offset, and whether it is a repeat.
    """
    payload: dict[str, Any] = {"delivered": delivered}
    if stored is not None:
        payload["epoch"], payload["offset"], duplicate = stored
        if duplicate:
            payload["duplicate"] = True
    return ServerMessage("ok", payload, reply_to=reply_to)


def position(epoch: str, offset: int, *, live: bool) -> ServerMessage:
    """Return the message that tells a positioned client up to which offset it has everything.

    `epoch` is the text that names the epoch and its newest generation.
    """
    return ServerMessage("position", {"epoch": epoch, "offset": offset, "live": live})


def error(
    code: str, message: str, reply_to: str | None = None, retry_after_ms: int | None = None
) -> ServerMessage:
    """Return the answer to a message that was refused.

    `retry_after_ms` tells when it is of use to repeat the message, where that is known.
    """
    payload: dict[str, Any] = {"code": code, "message": message}
    if retry_after_ms is not None:
        payload["retry_after_ms"] = retry_after_ms
    return ServerMessage("error", payload, reply_to=reply_to)


def goaway(reason: str, *, reconnect: bool, after_ms: int) -> ServerMessage:
    """Return the message before a close that the server starts."""
    return ServerMessage("goaway", {"reason": reason, "reconnect": reconnect, "after_ms": after_ms})


def encode(message: ServerMessage) -> bytes:
    """Return the JSON text; `payload` is always there, other keys only when they are set."""
    record: dict[str, Any] = {"type": message.type, "payload": message.payload}
    if message.reply_to is not None:
        record["reply_to"] = message.reply_to
    if message.source is not None:
        record["from"] = _origin(message.source)
    return orjson.dumps(record)


def durable_frame(
    type_: str,
    payload: bytes,
    *,
    offset: int,
    time: int,
    key: str | None = None,
    deleted: bool = False,
    source: Source | None = None,
    mark: Mark | None = None,
) -> bytes:
    """Return the frame of a message that is kept; `payload` is its JSON text, taken as it is.

    `time` is in milliseconds since 1970.
    """
    text = b'{"type":"%b","payload":%b,"offset":%d,"time":%d' % (
        type_.encode(),
        payload,
        offset,
        time,
    )
    if key is not None:
        text += b',"key":' + orjson.dumps(key)
    if deleted:
        text += b',"deleted":true'
    if source is not None:
        text += b',"from":' + orjson.dumps(_origin(source))
    if mark is not None:
        text += b',"%b":true' % mark.encode()
    return frame(text + b"}")


def _origin(source: Source) -> dict[str, int | str]:
    # As a dict: orjson takes three times as long for the dataclass.
    return {"device_id": source.device_id, "instance": source.instance}


def decode(text: str) -> ClientMessage:
    """Return the message in a text frame.

    Raises MessageError: `parse_error` when it is not JSON, `invalid_message` when the object is
    not a message or holds an integer that JSON readers of 64 bits would change.
    """
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        # RFC 8259, section 8.1, lets a parser ignore one; nothing is paid for it without one.
        if text.startswith(_MARK) and not text.startswith(_MARK, 1):
            return decode(text[1:])
        raise MessageError("parse_error", "this is not a JSON object in UTF-8") from None
    if not isinstance(record, dict):
        raise MessageError("invalid_message", "a message is a JSON object")
    reply_to = record.get("id")
    if reply_to is not None and (
        not isinstance(reply_to, str) or not 0 < len(reply_to) <= MAX_ID_LENGTH
    ):
        raise MessageError(
            "invalid_message", f"id must be a string of 1 to {MAX_ID_LENGTH} characters"
        )
    type_ = record.get("type")
    if not isinstance(type_, str) or not is_type(type_):
        raise MessageError(
            "invalid_message",
            f"type must be up to {MAX_TYPE_LENGTH} characters of a-z, 0-9 and _ joined by dots",
            reply_to,
        )
    if has_wide_integer(text):
        raise MessageError("invalid_message", "an integer does not fit into 64 bits", reply_to)
    return ClientMessage(type_, record.get("payload"), reply_to)


def id_in(text: str) -> str | None:
    """Return the `id` in the text of a message that is dropped unread; None if it has none."""
    try:
        record = orjson.loads(text.removeprefix(_MARK))
    except orjson.JSONDecodeError:
        return None
    found = record.get("id") if isinstance(record, dict) else None
    return found if isinstance(found, str) and 0 < len(found) <= MAX_ID_LENGTH else None


def is_type(text: str) -> bool:
    """Tell whether this is a well-formed message type."""
    return len(text) <= MAX_TYPE_LENGTH and _is_type(text)


@lru_cache(maxsize=1024)
def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None


def feature_of(type_: str) -> str:
    """Return the text before the first dot of a type."""
    return type_.partition(".")[0]


def has_wide_integer(text: str) -> bool:
    """Tell whether the text, which is JSON, has an integer outside of -2^63 … 2^64-1.

    orjson turns such an integer into a float without a word, so a relayed one would arrive
    changed.
    """
    # As `may_have_wide_integer`, without the call.
    return _EVERY_SIXTH_OF_IT.search(text[5::6]) is not None and any(wide_integers(text))


def may_have_wide_integer(text: str) -> bool:
    """Tell quickly whether it is worth searching the text for wide integers."""
    # 19 digits in a row put three digits side by side into every sixth character.
    return _EVERY_SIXTH_OF_IT.search(text[5::6]) is not None


def wide_integers(text: str) -> Iterator[bool]:
    """Do what `has_wide_integer` does in steps of a millisecond; the last one tells the outcome.

    The time it takes grows with the length of the text alone, whatever is in it.
    """
    begin, seen, in_string = 0, 0, False
    while begin < len(text):
        boundary = _BOUNDARY.search(text, begin + STEP_LENGTH)
        end = boundary.start() if boundary else len(text)
        for found in _LONG_INTEGER.finditer(text, begin, end):
            if _fits(found[0][1:]):
                continue
            # A segment never begins between a backslash and what it escapes: that is no digit.
            segment = text[seen : found.start() + 1].replace("\\\\", "").replace('\\"', "")
            in_string ^= segment.count('"') % 2 == 1
            if not in_string:
                yield True
                return
            seen = found.end()
        yield False
        begin = end


def _fits(digits: str) -> bool:
    """Tell whether the integer fits into 64 bits, with a sign or without."""
    return len(digits) <= _MAX_DIGITS and -(1 << 63) <= int(digits) < 1 << 64
