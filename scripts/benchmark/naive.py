"""The peers: what one writes with aiohttp on an afternoon, as a program that prints its port.

    python -m scripts.benchmark.naive

`/bare` upgrades and reads, and does nothing else: what a connection costs at the least. `/naive`
gives each connection an asyncio.Queue and a task that takes from it and sends JSON.
"""

import asyncio
import json
import sys
from typing import Any

import uvloop
from aiohttp import WSMsgType, web

Outbox = asyncio.Queue[dict[str, Any]]

OUTBOXES = web.AppKey("outboxes", set[Outbox])


async def bare(request: web.Request) -> web.WebSocketResponse:
    """Serve a connection that is read and never answered."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for _ in ws:
        pass
    return ws


async def _pump(ws: web.WebSocketResponse, outbox: Outbox) -> None:
    while True:
        await ws.send_str(json.dumps(await outbox.get()))


def _answer(outboxes: set[Outbox], own: Outbox, message: dict[str, Any]) -> None:
    if message["type"] == "ping":
        own.put_nowait({"type": "pong", "payload": None})
        return
    sent = message["payload"]
    source = {"device_id": 1, "instance": "0"}
    delivery = {"type": sent["type"], "payload": sent["payload"], "from": source}
    for outbox in outboxes:
        outbox.put_nowait(delivery)


async def naive(request: web.Request) -> web.WebSocketResponse:
    """Serve a connection with a queue and a pump of its own."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    outbox: Outbox = asyncio.Queue()
    outboxes = request.app[OUTBOXES]
    outboxes.add(outbox)
    pump = asyncio.create_task(_pump(ws, outbox))
    try:
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                _answer(outboxes, outbox, json.loads(message.data))
    finally:
        outboxes.discard(outbox)
        pump.cancel()
    return ws


async def _until_input_ends() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def main() -> None:
    """Serve on a free port of loopback until the standard input ends."""
    app = web.Application()
    app[OUTBOXES] = set()
    app.add_routes([web.get("/bare", bare), web.get("/naive", naive)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await _until_input_ends()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main())
