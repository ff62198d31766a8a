"""The peer python-socketio, on aiohttp and with rooms, as a program.

python -m scripts.benchmark.peers.socketio_server
"""

from typing import Any
from urllib.parse import parse_qs

import socketio
import uvloop
from aiohttp import web

from scripts.benchmark.standard_input import input_ended

# The clients of the benchmark answer no pings while they measure.
PING_SECONDS = 3600

server: Any = socketio.AsyncServer(
    async_mode="aiohttp", ping_interval=PING_SECONDS, allow_upgrades=False
)
groups: dict[str, str] = {}


async def connect(sid: str, environ: dict[str, Any]) -> None:
    """Put a connection into the room of its group."""
    groups[sid] = parse_qs(environ["QUERY_STRING"])["group"][0]
    await server.enter_room(sid, groups[sid])


async def disconnect(sid: str, *_reason: str) -> None:
    """Forget it."""
    groups.pop(sid, None)


async def ping(sid: str, *_payload: Any) -> None:
    """Answer it."""
    await server.emit("pong", None, to=sid)


async def relay(sid: str, sent: dict[str, Any]) -> None:
    """Send a message on to the room."""
    source = {"device_id": 1, "instance": "0"}
    left_out = sid if sent["to"] == "others" else None
    delivery = {"payload": sent["payload"], "from": source}
    await server.emit(sent["type"], delivery, room=groups[sid], skip_sid=left_out)


async def main() -> None:
    """Serve on a free port of loopback until the standard input ends."""
    for name, handler in (("connect", connect), ("disconnect", disconnect), ("ping", ping)):
        server.on(name, handler)
    server.on("device.send", relay)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await input_ended()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
