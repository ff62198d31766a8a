"""All devices of a program, which reads commands and writes reports."""

import asyncio
import faulthandler
import gc
import logging
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import orjson
import uvloop

from scripts.faults.device import Device
from scripts.faults.journal import Journal
from scripts.faults.plan import Plan, read_plan

JOIN_SECONDS: Final = 120
AT_ONCE: Final = 50
"""Devices that connect at the same time in the beginning."""

BREATH: Final = 16
"""Late steps at once; then the event loop has its turn."""


class Fleet:
    """All devices of a plan, and those of each user."""

    def __init__(self, plan: Plan, journal: Journal) -> None:
        self.plan = plan
        self.rng = random.Random(plan.seed)
        self.devices = [
            Device(account, journal, random.Random(self.rng.random()), plan.port)
            for account in plan.accounts
        ]
        self.users: dict[int, list[Device]] = defaultdict(list)
        for device in self.devices:
            self.users[device.account.user].append(device)
        self._running: list[asyncio.Task[None]] = []

    async def join(self) -> None:
        """Connect all devices, and wait until each knows its position."""
        async with asyncio.timeout(JOIN_SECONDS):
            for first in range(0, len(self.devices), AT_ONCE):
                some = self.devices[first : first + AT_ONCE]
                self._running += [asyncio.create_task(device.run()) for device in some]
                for device in some:
                    await device.settled.wait()

    async def leave(self) -> None:
        """Disconnect all devices for good."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for device in self.devices:
            if device.link is not None:
                device.link.abort()


def say(what: str, **fields: Any) -> None:
    """Report to the program that started this one."""
    sys.stdout.buffer.write(orjson.dumps({"said": what, **fields}) + b"\n")
    sys.stdout.buffer.flush()


@asynccontextmanager
async def reporting(what: str, count: Callable[[], int]) -> AsyncIterator[None]:
    """Report the count whenever it has grown, until the block ends."""
    task = asyncio.create_task(_report(what, count))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        say(what, count=count())


async def _report(what: str, count: Callable[[], int]) -> None:
    told = -1
    while True:
        if (now := count()) != told:
            told = now
            say(what, count=now)
        await asyncio.sleep(0.01)


async def paced(per_second: float) -> AsyncIterator[int]:
    """Yield 0, 1, 2 and so on at this rate; after a delay, at once until it has caught up."""
    began = time.monotonic()
    for number in count():
        early = began + number / per_second - time.monotonic()
        if early > 0 or number % BREATH == 0:
            await asyncio.sleep(max(0, early))
        yield number


async def commands() -> asyncio.StreamReader:
    """Return a reader of standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def told(reader: asyncio.StreamReader, word: str) -> None:
    """Wait for this command; raises EOFError when another one, or none, comes."""
    line = (await reader.readline()).decode().strip()
    if line != word:
        raise EOFError(f"expected the command {word!r}, not {line!r}")


def run(program: Callable[[Fleet], Coroutine[Any, Any, None]]) -> None:
    """Run a program of devices by the plan that its first argument names."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    faulthandler.register(signal.SIGUSR1)
    plan = read_plan()
    # Full collections would pause the devices, which would look like a slow server.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    with suppress(asyncio.CancelledError), Journal(Path(plan.journal)) as journal:
        uvloop.run(_run(program, plan, journal))


async def _run(
    program: Callable[[Fleet], Coroutine[Any, Any, None]], plan: Plan, journal: Journal
) -> None:
    fleet = Fleet(plan, journal)
    # So that a trial that is stopped leaves a journal that can be read.
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await program(fleet)
    finally:
        await fleet.leave()


def share(count: int, among: Sequence[Any]) -> list[int]:
    """Return how much of `count` each does."""
    each, more = divmod(count, len(among))
    return [each + (place < more) for place in range(len(among))]
