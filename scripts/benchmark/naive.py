"""What one writes with aiohttp in an afternoon, as a program that prints its port.

    python -m scripts.benchmark.naive [CERTIFICATE KEY]

`/bare` upgrades and reads, and does nothing else: the least that a connection can cost.
`/naive/GROUP` gives each connection a queue, and a task that encodes and sends what is in it.
"""

import asyncio
import json
import ssl
import sys
from collections import defaultdict
from typing import Any

import uvloop
from aiohttp import WSMsgType, web

from scripts.benchmark.standard_input import input_ended

Outbox = asyncio.Queue[dict[str, Any]]

OUTBOXES = web.AppKey("outboxes", defaultdict[str, set[Outbox]])


async def bare(request: web.Request) -> web.WebSocketResponse:
    """Read a connection and never answer."""
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
        if outbox is not own or sent["to"] != "others":
            outbox.put_nowait(delivery)
    if "id" in message:
        own.put_nowait({"type": "ok", "payload": {"delivered": []}, "reply_to": message["id"]})


async def naive(request: web.Request) -> web.WebSocketResponse:
    """Serve a connection with a queue and a pump of its own."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    outbox: Outbox = asyncio.Queue()
    outboxes = request.app[OUTBOXES][request.match_info["group"]]
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


def _secure(files: list[str]) -> ssl.SSLContext | None:
    if not files:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


async def main(files: list[str]) -> None:
    """Serve on a free port of loopback until the standard input ends."""
    app = web.Application()
    outboxes: defaultdict[str, set[Outbox]] = defaultdict(set)
    app[OUTBOXES] = outboxes
    app.add_routes([web.get("/bare", bare), web.get("/naive/{group}", naive)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    secure = _secure(files)
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096, ssl_context=secure).start()
    print(runner.addresses[0][1], flush=True)
    await input_ended()
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
