"""Commands whose result comes item by item, over the control socket and without a server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.base.errors import NoServer, Problem
from app.control import connections, prune, users
from app.control.address import SOCKET_NAME
from app.control.calling import call_feed
from app.control.command import Feed
from app.control.connections import ConnectionView, TailLine, WhatToTail, WhichConnections
from app.control.operations import Operations
from app.control.performing import perform, perform_feed
from app.control.prune import HowToPrune
from app.control.server import serve_control
from app.control.users import NewUser
from app.settings import Settings
from tests.control.conftest import Connect

ADA = NewUser(handle="ada", password="correct horse")


@pytest.fixture
async def path(operations: Operations) -> AsyncIterator[Path]:
    """Serve the control socket and return its path."""
    path = operations.settings.data_dir / SOCKET_NAME
    async with serve_control(path, operations):
        yield path


async def test_the_items_arrive_as_they_were(path: Path, connect: Connect) -> None:
    everybody = {connect(1, device).connection_id for device in range(1, 251)}
    found = [one async for one in call_feed(path, connections.LIST, WhichConnections())]
    assert {one.connection_id for one in found} == everybody
    assert len(found) == len(everybody)


async def test_what_is_refused_at_once_keeps_its_code(path: Path) -> None:
    which = WhichConnections(user="nobody")
    with pytest.raises(Problem) as caught:
        [one async for one in call_feed(path, connections.LIST, which)]
    assert (caught.value.status, caught.value.code) == (404, "user_not_found")


async def test_an_unknown_feed_is_refused(path: Path) -> None:
    unknown = Feed[WhichConnections, ConnectionView](
        "connections.fly", WhichConnections, ConnectionView
    )
    with pytest.raises(Problem) as caught:
        [one async for one in call_feed(path, unknown, WhichConnections())]
    assert caught.value.code == "unknown_command"


async def test_a_server_that_stops_cuts_its_feeds_off_and_says_no_end(
    operations: Operations,
) -> None:
    path = operations.settings.data_dir / SOCKET_NAME
    began = asyncio.Event()

    async def follow() -> list[TailLine]:
        found = []
        async for line in call_feed(path, connections.TAIL, WhatToTail()):
            found.append(line)
            began.set()
        return found

    async with serve_control(path, operations):
        following = asyncio.create_task(follow())
        await began.wait()
    with pytest.raises(Problem) as caught:
        await following
    assert caught.value.code == "no_answer"
    assert len(operations.running_node().tails) == 0


async def test_without_a_server_a_feed_that_needs_one_says_so(settings: Settings) -> None:
    await perform(settings, users.ADD, ADA)
    with pytest.raises(NoServer, match="needs a running server"):
        [one async for one in perform_feed(settings, connections.LIST, WhichConnections())]


async def test_without_a_server_others_work_on_the_folder_itself(settings: Settings) -> None:
    await perform(settings, users.ADD, ADA)
    [gone] = [one async for one in perform_feed(settings, prune.PRUNE, HowToPrune())]
    assert (gone.messages, gone.dry_run) == (0, False)
