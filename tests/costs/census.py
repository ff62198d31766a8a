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

_MORE_THAN_KEPT: Final = 1000
"""uvloop keeps 250 handles of a kind."""

_A_DAY: Final = 86_400


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
        await _fill_free_lists()
        return Reply("census.taken", _take())


async def _fill_free_lists() -> None:
    """Have uvloop keep all the handles that it keeps for later; it never gives them back.

    How many it has otherwise depends on how many callbacks once waited at the same time.
    """
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(_A_DAY, _do_nothing) for _ in range(_MORE_THAN_KEPT)]
    for timer in timers:
        timer.cancel()
    for _ in range(_MORE_THAN_KEPT):
        loop.call_soon(_do_nothing)
    timers.clear()
    await asyncio.sleep(0)


def _do_nothing() -> None:
    """Be called back."""


def _take() -> dict[str, Any]:
    gc.collect()
    return {"blocks": sys.getallocatedblocks(), "tasks": len(asyncio.all_tasks())}
