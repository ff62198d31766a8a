"""A connection has no timer: one sweep looks at all deadlines."""

import asyncio
from collections import Counter
from pathlib import Path

from serving import RawPeer, Server

from tests.costs import bounds
from tests.costs.timers import WatchedLoop

CONNECTIONS = 50


def timers() -> Counter[str]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WatchedLoop)
    return loop.timers()


def tasks() -> Counter[str]:
    """Return the tasks there are, by what they run."""
    return Counter(getattr(one.get_coro(), "__qualname__", "?") for one in asyncio.all_tasks())


async def greeted(server: Server, name: str) -> None:
    peer = await RawPeer.upgrade(server, await server.device(name))
    await peer.frame()


async def test_an_idle_connection_has_no_timer_and_no_task_of_ours(tmp_path: Path) -> None:
    async with Server(tmp_path, close_seconds=0.1, max_devices_per_user=100) as server:
        await greeted(server, "first")
        timers_before, tasks_before = timers(), tasks()
        for number in range(CONNECTIONS):
            await greeted(server, f"device-{number}")
        new_timers, new_tasks = timers() - timers_before, tasks() - tasks_before
        bounds.TIMERS.check(new_timers.total(), CONNECTIONS, new_timers)
        bounds.TASKS.check(new_tasks.total(), CONNECTIONS, new_tasks)


async def test_a_timer_and_a_task_more_are_seen() -> None:
    timers_before, tasks_before = timers(), tasks()
    sleep = asyncio.create_task(asyncio.sleep(1))
    timer = asyncio.get_running_loop().call_later(1, print)
    assert (timers() - timers_before).total() == 1
    assert (tasks() - tasks_before).total() == 1
    timer.cancel()
    sleep.cancel()
    assert timers() == timers_before
