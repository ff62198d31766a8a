"""A server for tests that talk to it over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from serving import PATIENCE, Device, Server

Serve = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Return a function that starts a server with these settings; no task of it is left at the end.

    `close_seconds` is short, since many peers here never answer a close.
    """
    before = asyncio.all_tasks()
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Server:
            options.setdefault("close_seconds", 0.3)
            return await stack.enter_async_context(Server(tmp_path, **options))

        yield start
    # The tasks of peers end a turn of the loop after their sockets.
    async with asyncio.timeout(PATIENCE):
        while asyncio.all_tasks() - before - {asyncio.current_task()}:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve()


@pytest.fixture
async def phone(server: Server) -> Device:
    return await server.device("phone")


@pytest.fixture
async def laptop(server: Server) -> Device:
    return await server.device("laptop")
