"""What one user, or a stranger, can pour over a server: each flood as the bytes that make it.

A flood is of crowds of sockets. All bytes are made before it begins, so that the attacker takes
little of the processor that it shares with those whom it would harm.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from app.protocol.frames import OPCODE_PING, OPCODE_TEXT
from scripts.faults.plan import Account

OPCODE_CONTINUATION: Final = 0x0

LIMITED_SECONDS: Final = 5.0
"""By which the server must have begun to limit a flood."""

STORED: Final = 10_000
"""Rows of a stream that is resumed again and again: as many as the server keeps for a user."""

Ending = Literal["", "asked", "answered", "live"]
"""After what a socket is reset and opened anew: its request is out, it is answered, or all that it
missed has come. Empty: never."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Sockets that all do the same."""

    sockets: int
    request: str = "GET {ws} HTTP/1.1"
    """First line of the request; without `{ws}` no upgrade, but asked again after each answer."""
    body: bytes = b""
    first: bytes = b""
    """Frames that are sent once, after the upgrade."""
    message: bytes = b""
    """Frames that are sent again and again."""
    per_second: float = 0
    """How often by one socket; 0: as often as the server takes it."""
    piece: int = 1 << 14
    """Bytes that are written at a time; 1 dribbles."""
    leaves: Ending = ""
    reads: bool = True
    """Whether it reads what comes after the upgrade."""
    known: bool = True
    """Whether its token is one of the user's."""
    whole: bool = True
    """Whether the request has its end."""


@dataclass(frozen=True, slots=True)
class Flood:
    """Crowds that come together, and what is judged beside the harm."""

    about: str
    crowds: Sequence[Crowd]
    stored: int = 0
    """Rows that the user's stream has before."""
    limited: bool = True
    """Whether the server has to limit it, since else it would do harm."""

    @property
    def sockets(self) -> int:
        """How many sockets all crowds have."""
        return sum(crowd.sockets for crowd in self.crowds)


def frame(payload: bytes, opcode: int = OPCODE_TEXT, *, final: bool = True) -> bytes:
    """Return a frame as clients send it, whose mask changes nothing (RFC 6455, section 5.2)."""
    first, size = opcode | (0x80 if final else 0), len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def message(type_: str, payload: Any = None, **keys: Any) -> bytes:
    """Return a message in one frame."""
    return frame(orjson.dumps({"type": type_, "payload": payload, **keys}))


def send(payload: Any, **keys: Any) -> bytes:
    """Return a message to all devices of the user."""
    return message("device.send", {"to": "user", "type": "flood.note", "payload": payload, **keys})


def fragments(count: int) -> bytes:
    """Return a message in so many frames, of which all but the first and the last are empty."""
    text = orjson.dumps({"type": "ping"})
    middle = frame(b"", OPCODE_CONTINUATION, final=False) * (count - 2)
    return frame(text, final=False) + middle + frame(b"", OPCODE_CONTINUATION)


def request(crowd: Crowd, account: Account, number: int, query: str) -> bytes:
    """Return what socket `number` of a crowd writes first; `query` says from where it resumes."""
    place = f"/v1/ws?instance=flood{number}{query}"
    line = crowd.request.format(ws=place, device=account.device)
    token = account.token if crowd.known else f"{number:064x}"
    lines = [line, "Host: 127.0.0.1", f"Authorization: Bearer {token}"]
    if "{ws}" in crowd.request:
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    else:
        lines += ["Content-Type: application/json", f"Content-Length: {len(crowd.body)}"]
    whole = ("\r\n".join(lines) + "\r\n\r\n").encode() + crowd.body
    return whole if crowd.whole else whole[:-4]


_INTEGERS: Final = [10**17 + number for number in range(3150)]
"""60 KB of numbers of 18 digits."""

FLOODS: Final[Mapping[str, Flood]] = {
    "fragments": Flood(
        "messages of 1,023 frames, at the rate that the limit of bytes allows",
        [Crowd(24, message=fragments(1023), per_second=42)],
    ),
    "sends": Flood(
        "messages to all devices of the user",
        [Crowd(128, message=send("x"), per_second=90)],
    ),
    "integers": Flood(
        "60 KB of wide integers to all devices of the user, at the rate that is allowed",
        [Crowd(16, message=send(_INTEGERS), per_second=4)],
    ),
    "durable": Flood(
        "durable messages at the rate that is allowed",
        [Crowd(128, message=send("x", store="log"), per_second=20)],
    ),
    "pings": Flood(
        "pings of the protocol, as fast as they are taken",
        [Crowd(64, message=frame(b"", OPCODE_PING))],
    ),
    "texts": Flood(
        "tiny messages, as fast as they are taken",
        [Crowd(64, message=message("a"))],
    ),
    "dribbles": Flood(
        "messages that come byte by byte",
        [Crowd(128, message=send("x" * 60_000), piece=1)],
    ),
    "deaf": Flood(
        "sockets that send to each other, and read nothing",
        [Crowd(64, message=send("x" * 4000), reads=False)],
    ),
    "watchers": Flood(
        "presence is watched by many while devices come and go",
        [Crowd(128, first=message("presence.watch")), Crowd(16, leaves="answered")],
    ),
    "toggles": Flood(
        "presence is watched and not, as fast as it is taken",
        [Crowd(64, message=message("presence.watch") + message("presence.unwatch"))],
    ),
    "catchups": Flood(
        "a long stream is resumed from its beginning, again and again",
        # Each waits for all of it before it begins again; 300 upgrades at once are within limits.
        [Crowd(64, leaves="live")],
        stored=STORED,
        limited=False,
    ),
    "writes": Flood(
        "a device is renamed, again and again",
        [Crowd(48, "PATCH /v1/devices/{device} HTTP/1.1", body=orjson.dumps({"device_name": "x"}))],
    ),
    "reads": Flood(
        "devices are listed, again and again",
        # Each waits for its answer before it asks again, and they harm nobody.
        [Crowd(48, "GET /v1/devices HTTP/1.1")],
        limited=False,
    ),
    "strangers": Flood(
        "upgrades with tokens that nobody has",
        [Crowd(64, known=False, leaves="answered")],
    ),
    "resets": Flood(
        "sockets that are reset at once, before and after the answer",
        [Crowd(32, leaves="asked"), Crowd(32, leaves="answered")],
    ),
    "halves": Flood(
        "requests without an end, by a stranger",
        [Crowd(10_500, known=False, whole=False)],
    ),
}
"""All floods by name."""
