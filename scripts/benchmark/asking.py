"""Asks our running server: its metrics, and what it tells a device."""

import asyncio
import urllib.request
from dataclasses import dataclass
from typing import Any

import aiohttp


def metrics(port: int) -> dict[str, float]:
    """Return every metric by its name with its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ")[::2] for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the durable messages."""

    epoch: str
    offset: int

    def query(self) -> str:
        """Return the part of a URL with which a device comes back to this position."""
        return f"?epoch={self.epoch}&offset={self.offset}"


def head(port: int, token: str) -> Position:
    """Return the newest position there is."""
    told = asyncio.run(_told(port, token, None))["resume"]
    return Position(told["epoch"], told["head"])


def ask(port: int, token: str, kind: str) -> Any:
    """Return the payload of the answer to a message of this type."""
    return asyncio.run(_told(port, token, kind))


async def _told(port: int, token: str, kind: str | None) -> Any:
    """Return the payload of `connected`, or of the answer to a message of this type.

    It connects as an instance of its own, so that it replaces no other connection.
    """
    url = f"http://127.0.0.1:{port}/v1/ws?instance=asking"
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(url, headers=headers) as ws,
    ):
        told = await ws.receive_json(timeout=30)
        if kind:
            await ws.send_json({"type": kind, "id": "1"})
            while "reply_to" not in told:
                told = await ws.receive_json(timeout=30)
        return told["payload"]
