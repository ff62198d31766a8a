"""The peer `websockets`: its asyncio server and its own `broadcast`, as a program.

python -m scripts.benchmark.peers.websockets_server
"""

import json
from collections import defaultdict
from contextlib import suppress

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from scripts.benchmark.standard_input import input_ended

groups: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def _answer(own: ServerConnection, members: set[ServerConnection], text: str) -> None:
    message = json.loads(text)
    if message["type"] == "ping":
        await own.send(json.dumps({"type": "pong", "payload": None}, separators=(",", ":")))
        return
    sent = message["payload"]
    source = {"device_id": 1, "instance": "0"}
    delivery = {"type": sent["type"], "payload": sent["payload"], "from": source}
    to = members - {own} if sent["to"] == "others" and "id" not in message else members
    broadcast(to, json.dumps(delivery, separators=(",", ":")))


async def handle(connection: ServerConnection) -> None:
    """Serve one connection; its path is its group."""
    members = groups[connection.request.path if connection.request else ""]
    members.add(connection)
    try:
        # The benchmark ends its connections without a close frame.
        with suppress(ConnectionClosed):
            async for text in connection:
                await _answer(connection, members, str(text))
    finally:
        members.discard(connection)


async def main() -> None:
    """Serve on a free port of loopback until the standard input ends."""
    async with serve(handle, "127.0.0.1", 0, compression=None, backlog=4096) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await input_ended()


if __name__ == "__main__":
    uvloop.run(main())
