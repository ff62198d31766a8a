"""`send` with a message that is kept."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.base.errors import Problem
from app.control.actions.table import act
from app.control.operations import Operations
from app.control.send import SEND, NewMessage, SendResult


@pytest.fixture
async def committing(operations: Operations) -> AsyncIterator[None]:
    """Have the committer store what the test sends."""
    work = asyncio.create_task(operations.running_node().committer.run())
    yield
    work.cancel()
    await asyncio.wait([work])


async def send(operations: Operations, **more: Any) -> SendResult:
    message = NewMessage(where="everyone", type="note.text", **more)
    return await act(operations, SEND, message)


async def test_a_message_that_is_not_kept_has_no_place(operations: Operations) -> None:
    assert await send(operations) == SendResult(delivered=[], failed=[])


@pytest.mark.usefixtures("committing")
async def test_a_durable_message_has_its_place_and_a_repeat_the_same(
    operations: Operations,
) -> None:
    first = await send(operations, payload=1, store="log", message_id="a")
    again = await send(operations, payload=1, store="log", message_id="a")
    later = await send(operations, payload=1, store="latest", key="k", ttl=60)
    assert first.epoch == again.epoch == operations.running_node().log.epoch
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.offset is not None
    assert first.offset == again.offset
    assert later.offset is not None
    assert later.offset > first.offset
    with pytest.raises(Problem) as caught:
        await send(operations, payload=2, store="log", message_id="a")
    assert caught.value.code == "id_conflict"


@pytest.mark.usefixtures("committing")
async def test_a_deletion_has_its_place_too(operations: Operations) -> None:
    value = await send(operations, payload=1, store="latest", key="k")
    deletion = await send(operations, key="k", delete=True)
    assert value.offset is not None
    assert deletion.offset == value.offset + 1


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "k"},
        {"store": "disk"},
        {"store": "latest"},
        {"store": "log", "ttl": 0},
        {"delete": True},
        {"delete": True, "key": "k", "payload": 1},
    ],
    ids=str,
)
async def test_how_it_is_kept_must_make_sense(operations: Operations, fields: Any) -> None:
    with pytest.raises(Problem) as caught:
        await send(operations, **fields)
    assert (caught.value.status, caught.value.code) == (400, "invalid_message")
