"""The messages that every server is driven with; a delivery's frame has 93 bytes everywhere."""

import json
from typing import Any


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


_RELAYED = {"type": "bench.tick", "payload": {"n": 1, "text": "abcd"}}

PING = _text({"type": "ping"})
PONG = _text({"type": "pong", "payload": None})
TRIGGER = _text({"type": "device.send", "payload": {"to": "user", **_RELAYED}})
DURABLE = _text(
    {
        "type": "device.send",
        "id": "1",
        "payload": {"to": "others", "store": "log", **_RELAYED},
    }
)
DELIVERY = _text({**_RELAYED, "from": {"device_id": 1, "instance": "0"}})
