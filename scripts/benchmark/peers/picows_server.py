"""The peer `picows`: WebSockets in Cython, without a task for each connection, as a program.

python -m scripts.benchmark.peers.picows_server
"""

import json
from collections import defaultdict

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from scripts.benchmark.standard_input import input_ended

groups: defaultdict[bytes, set[WSTransport]] = defaultdict(set)


class Member(WSListener):
    """One connection of a group."""

    def __init__(self, group: bytes) -> None:
        super().__init__()
        self._members = groups[group]

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Count it in."""
        self._members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Count it out."""
        self._members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer, or send on."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            self._answer(transport, frame.get_payload_as_bytes())

    def _answer(self, own: WSTransport, text: bytes) -> None:
        message = json.loads(text)
        if message["type"] == "ping":
            own.send(WSMsgType.TEXT, b'{"type":"pong","payload":null}')
            return
        sent = message["payload"]
        source = {"device_id": 1, "instance": "0"}
        delivery = {"type": sent["type"], "payload": sent["payload"], "from": source}
        encoded = json.dumps(delivery, separators=(",", ":")).encode()
        left_out = own if sent["to"] == "others" and "id" not in message else None
        for member in self._members:
            if member is not left_out:
                member.send(WSMsgType.TEXT, encoded)


def _member(request: WSUpgradeRequest) -> WSListener:
    return Member(request.path)


async def main() -> None:
    """Serve on a free port of loopback until the standard input ends."""
    server = await ws_create_server(_member, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await input_ended()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
