"""A feature for the server under test: it counts what the process holds, and can waste some."""

import asyncio
import ctypes
import gc
import os
import sys
from typing import Any, Final

from app.features.feature import Reply
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.messages import ClientMessage

_PR_SET_PTRACER: Final = 0x59616D61
_ANYBODY: Final = ctypes.c_ulong(-1)


class Census:
    """Answers with counts; `census.keep` and `census.write` first waste objects or system calls."""

    prefix = "census"

    def __init__(self, node: Node) -> None:
        self._kept: list[object] = []
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        # Yama lets only a parent trace a process, and strace is started later, beside it.
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANYBODY, 0, 0, 0)

    async def handle(self, connection: Connection, message: ClientMessage) -> Reply:
        """Return how many blocks and tasks there are, once it has wasted what was asked for."""
        if message.type == "census.keep":
            self._kept += [object() for _ in range(message.payload)]
        elif message.type == "census.write":
            for _ in range(message.payload):
                os.write(self._nowhere, b"x")
        return Reply("census.taken", _take())


def _take() -> dict[str, Any]:
    gc.collect()
    return {"blocks": sys.getallocatedblocks(), "tasks": len(asyncio.all_tasks())}
