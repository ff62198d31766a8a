"""What a peer may put on a WebSocket: messages and frames that are valid, nearly valid, or neither.

All of it comes from one `random.Random`, so a seed makes it again.
"""

import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_BYTES: Final = 65_536
"""The longest message that the server takes by default."""

_UPPER_OFFSET: Final = (1 << 63) - 1


class Owed(Enum):
    """How many answers with its `id` a message is owed."""

    ONE = "exactly one"
    NONE = "none"
    UNKNOWN = "none or one"


@dataclass(frozen=True, slots=True)
class Text:
    """A message as text; `id` is what answers name, if it has one that is valid."""

    data: bytes
    owed: Owed
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes to send, of one or more frames.

    `frames` is how many; `lawful` is False where the server may close the connection for them.
    """

    data: bytes
    frames: int
    lawful: bool
    text: Text | None = None
    ping: bytes | None = None


class Grammar:
    """Makes messages and frames; `devices` are ids that messages may be addressed to."""

    def __init__(self, dice: Random, devices: Sequence[int]) -> None:
        self.dice = dice
        self._devices = devices
        self._ids = 0
        self._texts: list[tuple[Callable[[], Text], int]] = [
            (self._ping, 12),
            (self._send, 30),
            (self._odd_send, 20),
            (self._ack, 6),
            (self._odd_type, 10),
            (self._feature, 8),
            (self._broken, 12),
            (self._no_object, 4),
            (self._doubled, 3),
            (self._deep, 2),
            (self._long, 1),
        ]
        self._pieces: list[tuple[Callable[[], Piece], int]] = [
            (self._whole, 400),
            (self._fragments, 40),
            (self._control, 30),
            (self._binary, 6),
            (self._unlawful, 4),
        ]

    def piece(self) -> Piece:
        """Return the next bytes to send."""
        piece: Piece = self._pick(self._pieces)()
        return piece

    def text(self) -> Text:
        """Return a message, or what is nearly one."""
        text: Text = self._pick(self._texts)()
        return text

    def last(self) -> Piece:
        """Return a `ping` with an `id`, which ends what was said."""
        text = self._message("ping")
        return Piece(self.frame(text.data), 1, True, text)

    def _pick(self, choices: Sequence[tuple[Callable[[], Any], int]]) -> Callable[[], Any]:
        names, weights = zip(*choices, strict=True)
        (chosen,) = self.dice.choices(names, weights)
        made: Callable[[], Any] = chosen
        return made

    # Values

    def _word(self, letters: str = string.ascii_lowercase, most: int = 12) -> str:
        return "".join(self.dice.choices(letters, k=self.dice.randint(1, most)))

    def _value(self, depth: int = 3) -> Any:
        dice = self.dice
        kind = dice.randrange(12 if depth else 9)
        match kind:
            case 0:
                return None
            case 1:
                return dice.random() < 0.5
            case 2:
                return dice.randint(-5, 100)
            case 3:
                return dice.choice([0, -1, 1 << 31, 1 << 53, _UPPER_OFFSET, (1 << 64) - 1])
            case 4:
                return dice.choice([0.5, -0.0, 1e308, 5e-324, 1.0, 1e22])
            case 5 | 6:
                return self._word()
            case 7:
                return dice.choice(["", "\0", "\u2028", "😀", "é" * 40, "\x7f", '"\\', "others"])
            case 8:
                return "x" * dice.choice([63, 64, 65, 128, 129, 1000])
            case 9 | 10:
                return {self._word(): self._value(depth - 1) for _ in range(dice.randint(0, 4))}
            case _:
                return [self._value(depth - 1) for _ in range(dice.randint(0, 4))]

    def _type(self) -> str:
        return ".".join(self._word(most=8) for _ in range(self.dice.randint(2, 3)))

    # Messages

    def _dump(self, record: Any) -> bytes:
        # As other libraries write it: with spaces, with escapes, in UTF-8.
        dice = self.dice
        return json.dumps(
            record,
            ensure_ascii=dice.random() < 0.3,
            separators=(",", ":") if dice.random() < 0.5 else None,
        ).encode("utf-8", "surrogatepass")

    def _message(self, type_: Any, payload: Any = None, **more: Any) -> Text:
        """Return a JSON object that has an `id` mostly."""
        record: dict[str, Any] = {"type": type_}
        if payload is not None or self.dice.random() < 0.5:
            record["payload"] = payload
        record |= more
        if type_ != "ping" and self.dice.random() < 0.1:
            return Text(self._dump(record), Owed.NONE)
        self._ids += 1
        # With a check digit or two, so that one that lost some is no other's.
        id_ = f"{self._ids}.{self._ids * 7919 % 9973}"
        record["id"] = id_
        if self.dice.random() < 0.1:
            record = dict(self.dice.sample(list(record.items()), len(record)))
        return Text(self._dump(record), Owed.ONE, id_)

    def _ping(self) -> Text:
        return self._message("ping")

    def _body(self) -> dict[str, Any]:
        dice = self.dice
        body: dict[str, Any] = {
            "to": dice.choice([*self._devices, "others", "user", "others", "user"]),
            "type": self._type(),
            "payload": self._value(),
        }
        if dice.random() < 0.03:
            body["store"] = dice.choice(["log", "latest"])
            if body["store"] == "latest":
                body["key"] = self._word(most=2)
                if dice.random() < 0.2:
                    body["delete"] = True
                    body.pop("payload")
            if dice.random() < 0.3:
                body["message_id"] = self._word(most=3)
            if dice.random() < 0.3 and "delete" not in body:
                body["ttl"] = dice.choice([1, 5, 86_400])
        elif dice.random() < 0.1:
            body["store"] = "none"
        return body

    def _send(self) -> Text:
        return self._message("device.send", self._body())

    def _odd_send(self) -> Text:
        """One field of a `device.send` is odd, or there is one that nobody knows."""
        dice, body = self.dice, self._body()
        match dice.randrange(5):
            case 0:
                body.pop(dice.choice(list(body)))
            case 1:
                body[dice.choice(["to", "type", "payload", "store"])] = self._value()
            case 2:
                name = dice.choice(["key", "ttl", "message_id", "delete", "to", self._word()])
                body[name] = self._value()
            case 3:
                body["type"] = dice.choice(
                    ["ping", "device.send", "sync.x", "notification.x", "a", "a.", ".a", "A.b", ""]
                )
            case _:
                body["to"] = dice.choice([0, -1, True, 1.0, "others ", "everyone", 1 << 40, None])
        return self._message("device.send", body)

    def _ack(self) -> Text:
        offset = self.dice.choice([0, 1, 5, 1 << 40, _UPPER_OFFSET, -1, 1.0, "1", None, True])
        return self._message("ack", {"offset": offset})

    def _feature(self) -> Text:
        type_ = self.dice.choice(
            [
                *("presence.watch", "presence.unwatch", "presence.list", "token.refresh"),
                *("sync.request", "playback.play", "notification.read", "device.list", "ack.x"),
                *("pong", "ok", "error", "connected", "position", "goaway", "ping.x"),
            ]
        )
        token = {"token": self.dice.choice([self._word(), "", None, "a.b.c", "x" * 43])}
        return self._message(type_, self.dice.choice([None, token, self._value()]))

    def _odd_type(self) -> Text:
        """The type or the id is none, or the type is nobody's."""
        dice = self.dice
        if dice.random() < 0.5:
            return self._message(self._type())
        if dice.random() < 0.5:
            odd: list[Any] = [
                "",
                ".",
                "a..b",
                "A",
                "é.b",
                "a b",
                "a" * 128,
                "a" * 129,
                "a\n",
                None,
                5,
                [],
                {},
            ]
            return self._message(dice.choice(odd))
        record = {"type": "ping", "id": dice.choice(["", 5, [], {}, "x" * 65, True, 1.5])}
        return Text(self._dump(record), Owed.NONE)

    def _no_object(self) -> Text:
        odd: list[bytes] = [
            b"",
            b" ",
            b"null",
            b"[]",
            b"1",
            b'"x"',
            b"true",
            b"[{}]",
            b"\xef\xbb\xbf{}",
        ]
        odd += [
            b"NaN",
            b"-",
            b"{}",
            b"{}{}",
            b"{} x",
            b"{,}",
            b'{"type"}',
            b"nul",
            b"\0",
            b"\t{}\n",
        ]
        return Text(self.dice.choice(odd), Owed.NONE)

    def _broken(self) -> Text:
        """A message in which some bytes are others, too many, or missing."""
        dice = self.dice
        data = bytearray(
            self.dice.choice([self._send, self._ping, self._ack, self._feature])().data
        )
        for _ in range(dice.choice([1, 1, 1, 2, 5])):
            at = dice.randrange(len(data) + 1)
            match dice.randrange(4):
                case 0:
                    del data[at:]
                case 1:
                    del data[at : at + dice.randint(1, 4)]
                case 2:
                    data[at:at] = dice.choice(
                        [
                            *(b'"', b"{", b"}", b"[", b",", b":", b"\\", b"\\ud800", b"\0"),
                            *(b"NaN", b"1e999", b"-", b"//", b"\xc3\xa9", b"\\u0000"),
                            *(b"Infinity", b"9" * 25),
                        ]
                    )
                case _:
                    data[at : at + 1] = bytes([dice.randrange(0x20, 0x7F)])
        # Half a character is no text frame: that is for `_unlawful`.
        return Text(bytes(data).decode("utf-8", "ignore").encode(), Owed.UNKNOWN)

    def _doubled(self) -> Text:
        """One key comes twice; the last one counts."""
        text = self._message("ping")
        key = self.dice.choice([b'"type":"a.b"', b'"payload":{"a":1,"a":2}', b'"id":"first"'])
        return Text(b"{" + key + b"," + text.data[1:], text.owed, text.id)

    def _deep(self) -> Text:
        """Nested, and numbers that JSON readers of 64 bits would change."""
        dice = self.dice
        text = self._message("device.send", {"to": "others", "type": "a.b", "payload": "HERE"})
        depth = dice.choice([10, 500, 1020, 1021, 1022, 1023, 1024, 5000])
        number = dice.choice(
            [b"18446744073709551616", b"-9223372036854775809", b"1e400", b"9" * 400]
        )
        inside = dice.choice(
            [b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, number]
        )
        return Text(text.data.replace(b'"HERE"', inside), Owed.UNKNOWN, text.id)

    def _long(self) -> Text:
        """As long as a message may be, or nearly."""
        text = self._message("device.send", {"to": "others", "type": "a.b", "payload": "HERE"})
        room = MAX_BYTES - len(text.data) + len(b"HERE")
        length = self.dice.choice([900, 1000, 1100, 5000, 30_000, room - 1, room])
        return Text(text.data.replace(b"HERE", b"x" * length), text.owed, text.id)

    # Frames

    def frame(
        self, payload: bytes, opcode: int = TEXT, *, fin: bool = True, first: int = 0
    ) -> bytes:
        """Return a masked frame (RFC 6455, section 5.2); `first` is added to its first byte."""
        size = len(payload)
        head = bytes((opcode | (0x80 if fin else 0) | first,))
        if size < 126:
            head += bytes((0x80 | size,))
        elif size < 65_536:
            head += b"\xfe" + size.to_bytes(2, "big")
        else:
            head += b"\xff" + size.to_bytes(8, "big")
        mask = b"\0\0\0\0" if self.dice.random() < 0.2 else self.dice.randbytes(4)
        return head + mask + _masked(payload, mask)

    @staticmethod
    def bare(payload: bytes, opcode: int) -> bytes:
        """Return a short frame with a mask of zeros, outside of what the dice made."""
        return bytes((opcode | 0x80, 0x80 | len(payload))) + b"\0\0\0\0" + payload

    def _whole(self) -> Piece:
        text = self.text()
        return Piece(self.frame(text.data), 1, True, text)

    def _fragments(self) -> Piece:
        """A message in pieces, some of them empty, with control frames between them."""
        dice, text = self.dice, self.text()
        count = dice.choice([2, 2, 3, 5, 20])
        cuts = sorted(dice.randint(0, len(text.data)) for _ in range(count - 1))
        parts = [text.data[a:b] for a, b in zip([0, *cuts], [*cuts, len(text.data)], strict=True)]
        frames: list[bytes] = []
        ping: bytes | None = None
        for at, part in enumerate(parts):
            frames.append(self.frame(part, TEXT if at == 0 else 0, fin=at == count - 1))
            if at < count - 1 and dice.random() < 0.2:
                if ping is None and dice.random() < 0.5:
                    ping = self._nonce()
                    frames.append(self.frame(ping, PING))
                else:
                    frames.append(self.frame(dice.randbytes(dice.randint(0, 125)), PONG))
        return Piece(b"".join(frames), len(frames), True, text, ping)

    def _nonce(self) -> bytes:
        self._ids += 1
        return b"%d" % self._ids + b"x" * self.dice.choice([0, 1, 50])

    def _control(self) -> Piece:
        if self.dice.random() < 0.6:
            nonce = self._nonce()
            return Piece(self.frame(nonce, PING), 1, True, ping=nonce)
        return Piece(self.frame(self.dice.randbytes(self.dice.randint(0, 125)), PONG), 1, True)

    def _binary(self) -> Piece:
        return Piece(
            self.frame(self.dice.randbytes(self.dice.choice([0, 1, 200])), BINARY), 1, True
        )

    def _unlawful(self) -> Piece:
        """Bytes for which the server may close the connection."""
        dice = self.dice
        ping = b'{"type":"ping"}'
        odd: list[bytes] = [
            # Without a mask.
            b"\x81\x0f" + ping,
            self.frame(ping, dice.choice([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])),
            self.frame(ping, first=dice.choice([0x10, 0x20, 0x40, 0x70])),
            # A control frame that is too long, or in pieces.
            self.frame(b"x" * 126, PING),
            self.frame(b"x", PING, fin=False),
            # The rest of nothing; a new message inside of another.
            self.frame(ping, 0),
            self.frame(b"{", fin=False) + self.frame(ping),
            # No UTF-8: half a character, a surrogate, too long a form.
            self.frame(b'"\xc3"'),
            self.frame(b"\xed\xa0\x80"),
            self.frame(b"\xc0\x80"),
            self.frame(b'"\xe2\x82', fin=False) + self.frame(b'\xac"', 0),
            # Lengths: longer than need be, too long, longer than there can be.
            b"\x81\xfe\x00\x0f\0\0\0\0" + ping,
            b"\x81\xff" + (15).to_bytes(8, "big") + b"\0\0\0\0" + ping,
            self.frame(b'"' + b"x" * MAX_BYTES + b'"'),
            b"\x81\xff" + (1 << 63).to_bytes(8, "big") + b"\0\0\0\0",
            b"\x81\xff" + b"\xff" * 8 + b"\0\0\0\0",
            # Close frames with codes that nobody may send, half a code, or no UTF-8.
            self.frame(
                dice.choice([0, 999, 1004, 1005, 1006, 1015, 5000]).to_bytes(2, "big"), CLOSE
            ),
            self.frame(b"\x03", CLOSE),
            self.frame(b"\x03\xe8\xff\xfe", CLOSE),
            self.frame(b"\x03\xe8bye", CLOSE),
            self.frame(b"", CLOSE),
            dice.randbytes(dice.randint(1, 40)),
            b"".join([self.frame(b"", fin=False), *[self.frame(b"", 0, fin=False)] * 1100]),
        ]
        return Piece(dice.choice(odd), 1, False)


def _masked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    if not size or mask == b"\0\0\0\0":
        return payload
    pattern = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(pattern, "little")
    return number.to_bytes(size, "little")
