"""The messages that every server gets; the frame of a delivery has 93 bytes in all of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A message of the load generator, and how many frames the server sends for it.

    `members` to each member of the sender's group, and `extra` more in all. Kinds of one name are
    mixed by their weights.
    """

    name: str
    text: str
    members: int
    extra: int
    weight: int = 1

    def line(self) -> str:
        """Return it as kinds.h reads it."""
        return f"{self.name} {self.weight} {self.members} {self.extra} {self.text}\n"


def _text(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def _send(to: str, kind: str, payload: Any, **more: str) -> str:
    message: dict[str, Any] = {"type": "device.send"}
    if more:
        message["id"] = "1"
    message["payload"] = {"to": to, "type": kind, "payload": payload, **more}
    return _text(message)


_TICK = {"n": 1, "text": "abcd"}
_RELAYED = {"type": "bench.tick", "payload": _TICK}
_FROM = {"device_id": 1, "instance": "0"}
_LONG = {"n": 1, "text": "abcd" * 256}
_LINE = "See you at seven in front of the cinema, I have the tickets. Bring your sister along!"
_PLACE = {"track": 4711, "position_ms": 83250, "paused": False, "speed": 1}

PING = _text({"type": "ping"})
PONG = _text({"type": "pong", "payload": None})
DELIVERY = _text({**_RELAYED, "from": _FROM})
LONG_DELIVERY = _text({"type": "bench.tick", "payload": _LONG, "from": _FROM})

# A message to `others` does not come back to its sender, but a durable one's `ok` does.
KINDS: Sequence[Kind] = (
    Kind("fanout", _send("user", "bench.tick", _TICK), 1, 0),
    Kind("others", _send("others", "bench.tick", _TICK), 1, -1),
    Kind("echo", PING, 0, 1),
    Kind("long", _send("user", "bench.tick", _LONG), 1, 0),
    Kind("durable", _send("others", "bench.tick", _TICK, store="log"), 1, 0),
    Kind("kept", _send("user", "bench.tick", _TICK, store="log"), 1, 1),
    # A family's devices: positions of a player, chat, a volume knob, pings.
    Kind("mixed", _send("others", "music.position", _PLACE), 1, -1, 70),
    Kind("mixed", _send("others", "chat.text", {"text": _LINE}, store="log"), 1, 0, 12),
    Kind("mixed", _send("others", "music.volume", 30, store="latest", key="kitchen"), 1, 0, 3),
    Kind("mixed", PING, 0, 1, 15),
)


def _event(text: str) -> str:
    message = json.loads(text)
    return "42" + _text([message["type"], message.get("payload")])


# The same as events of Socket.IO with one argument.
SOCKET_IO_KINDS: Sequence[Kind] = tuple(
    Kind(kind.name, _event(kind.text), kind.members, kind.extra)
    for kind in KINDS
    if kind.name in ("fanout", "others", "echo")
)
