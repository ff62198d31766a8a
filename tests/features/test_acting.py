"""What a feature keeps in answer to a device counts as that device's, however it keeps it."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from delivery_peers import append

from app.features import Node, Publication, Storing, ToUser
from app.protocol.keep import Keep
from app.protocol.messages import Source
from tests.features.sides import Side

KEPT = Publication(ToUser(1), "todo.added", keep=Keep("log"))

Handle = Callable[[Any, Any], Any]


def answer_at_once(_node: Node) -> Handle:
    return lambda *_: Storing(partial(_node.append, KEPT))


def answer_later(node: Node) -> Handle:
    async def handle(*_: Any) -> Storing:
        await asyncio.sleep(0)
        return Storing(partial(node.append, KEPT))

    return handle


def keep_without_answering(node: Node) -> Handle:
    def handle(*_: Any) -> None:
        append(node, KEPT)

    return handle


def keep_and_wait(node: Node) -> Handle:
    async def handle(*_: Any) -> None:
        await asyncio.sleep(0)
        await append(node, KEPT)

    return handle


def keep_in_a_task(node: Node) -> Handle:
    async def work() -> None:
        await append(node, KEPT)

    return lambda *_: asyncio.get_running_loop().create_task(work())


def keep_in_a_task_of_a_task(node: Node) -> Handle:
    async def handle(*_: Any) -> None:
        await keep_in_a_task(node)(*_)

    return handle


WAYS = [
    answer_at_once,
    answer_later,
    keep_without_answering,
    keep_and_wait,
    keep_in_a_task,
    keep_in_a_task_of_a_task,
]


class Sides:
    """A side whose committer runs, with one feature that is told how to keep."""

    def __init__(self) -> None:
        self.side = Side({"todo": self.handle})
        self.way: Handle = lambda *_: None

    def handle(self, connection: Any, message: Any) -> Any:
        return self.way(connection, message)

    async def authors(self) -> list[tuple[int, str]]:
        await self.side.settled()
        await self.side.node.committer.drain()
        rows = self.side.node.log.rows  # type: ignore[attr-defined]
        return [(row.source_device, row.source_instance) for row in rows]


@pytest.fixture
async def sides() -> AsyncIterator[Sides]:
    sides = Sides()
    running = asyncio.create_task(sides.side.node.committer.run())
    yield sides
    running.cancel()
    await asyncio.wait([running])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_a_feature_keeps_in_answer_is_the_devices(sides: Sides, way: Any) -> None:
    sides.way = way(sides.side.node)
    other = sides.side.beside()
    sides.side.say("todo.add", None, "1")
    other.say("todo.add", None, "2")
    sides.side.say("todo.add", None, "3")
    await other.settled()
    assert sorted(await sides.authors()) == [(2, ""), (2, ""), (3, "")]


async def test_what_a_feature_keeps_by_itself_is_not_a_devices(sides: Sides) -> None:
    sides.way = keep_without_answering(sides.side.node)
    sides.side.say("todo.add", None, "1")
    await append(sides.side.node, KEPT)
    assert await sides.authors() == [(2, ""), (0, "")]


async def test_a_task_for_all_users_that_a_message_starts_may_be_a_devices_or_not(
    sides: Sides,
) -> None:
    tasks = []

    def start(*_: Any) -> None:
        work = keep_and_wait(sides.side.node)(*_)
        tasks.append(asyncio.get_running_loop().create_task(work, context=contextvars.Context()))

    sides.way = start
    sides.side.say("todo.add", None, "1")
    await asyncio.wait(tasks)
    assert await sides.authors() == [(0, "")]


async def test_a_source_that_the_feature_names_is_shown_to_devices(sides: Sides) -> None:
    named = Publication(ToUser(1), "todo.added", keep=Keep("log"), source=Source(2, "tab"))
    sides.way = lambda *_: Storing(partial(sides.side.node.append, named))
    sides.side.say("todo.add", None, "1")
    assert await sides.authors() == [(2, "tab")]


async def test_what_fails_leaves_nobody_acting(sides: Sides) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    sides.way = fail
    sides.side.say("todo.add", None, "1")
    await append(sides.side.node, KEPT)
    assert await sides.authors() == [(0, "")]
