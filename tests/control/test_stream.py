"""What operators see of streams, and a new epoch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from app.base.errors import Problem
from app.control import stream, tokens, users
from app.control.actions import stream as actions
from app.control.actions.table import act, action_named
from app.control.command import PAGE_ROWS, NoArguments
from app.control.operations import Operations
from app.control.stream import Budget, DeviceStanding, RowView, WhichRows, WhichStream
from app.control.tokens import NewToken
from app.control.users import NewUser
from app.protocol.close import STREAM_RESET
from app.protocol.position import Position
from app.streams.base import EVERYONE, Append, Appended, Cursor
from tests.control.conftest import Connect


async def add(operations: Operations, handle: str = "ada") -> int:
    made = NewUser(handle=handle, password="correct horse")
    return (await act(operations, users.ADD, made)).id


async def device(operations: Operations, number: int = 1, user: str = "ada") -> int:
    new = NewToken(user=user, device_uuid=f"device-{number:04}", device_type="web")
    issued = await act(operations, tokens.ISSUE, new)
    assert issued.device_id is not None
    return issued.device_id


async def keep(operations: Operations, user_id: int, **more: Any) -> int:
    """Return the offset of a new durable message."""
    append = Append(user_id, "note.text", b'{"text":"hi"}')
    [outcome] = await operations.running_node().log.append([replace(append, **more)])
    assert isinstance(outcome, Appended)
    return outcome.offset


async def acknowledge(operations: Operations, user_id: int, device_id: int, offset: int) -> None:
    log = operations.running_node().log
    cursor = Cursor(user_id, Position(log.epoch, offset))
    await log.save_cursors({device_id: cursor})


async def standings(operations: Operations) -> list[DeviceStanding]:
    info = await act(operations, stream.INFO, WhichStream(user="ada"))
    assert info.user is not None
    return info.user.devices


async def rows(operations: Operations, **which: Any) -> Sequence[RowView]:
    return (await act(operations, stream.SHOW, WhichRows(**which))).rows


async def test_the_figures_of_all_streams(operations: Operations) -> None:
    ada, bob = await add(operations), await add(operations, "bob")
    for user_id in (ada, bob, bob, EVERYONE):
        await keep(operations, user_id, source_device=7 if user_id == ada else 0)
    info = await act(operations, stream.INFO, WhichStream())
    assert info.epoch == operations.running_node().log.epoch
    assert (info.last, info.rows, info.users, info.everyone_rows) == (4, 4, 2, 1)
    assert info.rows_of_devices == 1
    assert info.bytes > 0
    assert info.oldest_at is not None
    assert info.user is None


async def test_the_ids_that_are_remembered_and_those_that_a_user_has_added_are_counted(
    operations: Operations,
) -> None:
    ada, bob = await add(operations), await add(operations, "bob")
    for number, (user, device) in enumerate([(ada, 1), (ada, 2), (bob, 3)]):
        named = {"owner": f"device:{device}", "message_id": f"m{number}"}
        await keep(operations, user, sender=f"user:{user}", **named)
    await keep(operations, ada, owner="key:1", sender="key:1", message_id="m")
    await keep(operations, ada)
    info = await act(operations, stream.INFO, WhichStream(user="ada"))
    assert info.user is not None
    assert (info.message_ids, info.user.new_ids) == (4, 2)
    assert info.user.max_new_ids == operations.settings.message_ids_per_user


async def test_an_empty_database_has_no_oldest_message(operations: Operations) -> None:
    info = await act(operations, stream.INFO, WhichStream())
    assert (info.last, info.rows, info.oldest_at) == (0, 0, None)


async def test_a_users_stream_has_the_rows_of_everyone_and_not_of_others(
    operations: Operations,
) -> None:
    ada, bob = await add(operations), await add(operations, "bob")
    await keep(operations, ada, key="theme")
    await keep(operations, bob, key="theme")
    await keep(operations, EVERYONE)
    await keep(operations, bob)
    info = await act(operations, stream.INFO, WhichStream(user="ada"))
    assert info.user is not None
    assert (info.user.rows, info.user.head, info.user.keys, info.user.floor) == (2, 3, 1, 0)
    assert [row.offset for row in await rows(operations, user="ada")] == [1, 3]
    assert [row.offset for row in await rows(operations)] == [3]


async def test_what_devices_and_the_backend_keep_is_counted_apart(operations: Operations) -> None:
    ada = await add(operations)
    for more in ({}, {}, {"key": "theme"}, {"key": "gone", "deleted": True}):
        await keep(operations, ada, **more)
    for more in ({}, {"key": "volume"}, {"key": "mute"}):
        await keep(operations, ada, source_device=7, **more)
    await keep(operations, EVERYONE)
    info = await act(operations, stream.INFO, WhichStream(user="ada"))
    assert info.user is not None
    assert (info.user.rows, info.user.keys) == (8, 3)
    assert info.user.of_backend == Budget(rows=3, keys=1)
    assert info.user.of_devices == Budget(rows=1, keys=2)


async def test_floors_are_those_that_retention_raised(operations: Operations) -> None:
    ada = await add(operations)
    for _ in range(12):
        await keep(operations, ada)
    log = operations.running_node().log
    while (await log.prune()).more:
        pass
    info = await act(operations, stream.INFO, WhichStream(user="ada"))
    assert info.user is not None
    assert (info.user.floor, info.user.rows, info.user.head) == (2, 10, 12)
    assert (info.users_with_floor, info.everyone_floor) == (1, 0)


async def test_a_device_lacks_what_is_above_its_cursor_and_for_it(
    operations: Operations, connect: Connect
) -> None:
    ada = await add(operations)
    one, two, three = [await device(operations, number) for number in (1, 2, 3)]
    first = await keep(operations, ada)
    await keep(operations, ada, target_device=two)
    await keep(operations, ada, without_device=one)
    await keep(operations, EVERYONE)
    for number in (one, two):
        await acknowledge(operations, ada, number, first)
    connect(ada, two)
    found = await standings(operations)
    assert [(one.device_id, one.cursor, one.lag, one.online) for one in found] == [
        (one, first, 1, False),
        (two, first, 3, True),
        (three, None, None, False),
    ]


async def test_a_cursor_of_an_older_epoch_is_stale(operations: Operations) -> None:
    ada, number = await add(operations), await device(operations)
    offset = await keep(operations, ada)
    await acknowledge(operations, ada, number, offset)
    await act(operations, stream.RESET, NoArguments())
    [found] = await standings(operations)
    assert found.stale
    assert found.lag is None


async def test_a_row_is_shown_with_all_that_is_kept_of_it(operations: Operations) -> None:
    ada = await add(operations)
    await keep(
        operations,
        ada,
        payload=b"null",
        without_device=4,
        without_instance="tab",
        source_device=4,
        source_instance="tab",
        key="theme",
        ttl=60,
    )
    [row] = await rows(operations, user="ada")
    assert row.expires_at == row.created_at + 60_000
    assert row.model_dump(exclude={"created_at", "expires_at"}) == {
        "offset": 1,
        "user_id": ada,
        "type": "note.text",
        "payload": None,
        "size": 4,
        "target_device": None,
        "without_device": 4,
        "without_instance": "tab",
        "source_device": 4,
        "source_instance": "tab",
        "key": "theme",
        "deleted": None,
    }


async def test_many_rows_come_in_pages(operations: Operations) -> None:
    ada = await add(operations)
    log = operations.running_node().log
    await log.append([Append(ada, "note.text", b"1")] * (PAGE_ROWS + 1))
    first = await act(operations, stream.SHOW, WhichRows(user="ada"))
    assert (len(first.rows), first.more) == (PAGE_ROWS, True)
    rest = await act(operations, stream.SHOW, WhichRows(user="ada", after=first.rows[-1].offset))
    assert (len(rest.rows), rest.more) == (1, False)
    exact = await act(operations, stream.SHOW, WhichRows(user="ada", after=1))
    assert (len(exact.rows), exact.more) == (PAGE_ROWS, False)


async def test_large_rows_come_in_pages_of_one_at_least(
    operations: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await add(operations)
    for _ in range(3):
        await keep(operations, ada, payload=b'"%b"' % (b"x" * 100))
    monkeypatch.setattr(actions, "PAGE_BYTES", 250)
    first = await act(operations, stream.SHOW, WhichRows(user="ada"))
    assert (len(first.rows), first.more) == (2, True)
    monkeypatch.setattr(actions, "PAGE_BYTES", 1)
    assert len(await rows(operations, user="ada")) == 1


async def test_what_has_expired_is_not_shown(operations: Operations) -> None:
    ada = await add(operations)
    await keep(operations, ada, ttl=-1)
    assert await rows(operations, user="ada") == []


@pytest.mark.parametrize("command", ["stream.info", "stream.show"])
async def test_an_unknown_user_is_not_found(operations: Operations, command: str) -> None:
    with pytest.raises(Problem) as caught:
        await action_named(command).run_json(operations, {"user": "bob"})
    assert caught.value.code == "user_not_found"


async def test_a_reset_begins_a_new_epoch_and_closes_every_connection(
    operations: Operations, connect: Connect
) -> None:
    ada, number = await add(operations), await device(operations)
    await keep(operations, ada)
    before = operations.running_node().log.epoch
    connection = connect(ada, number)
    done = await act(operations, stream.RESET, NoArguments())
    assert (done.before, done.connections_closed) == (before, 1)
    assert done.epoch == operations.running_node().log.epoch != before
    assert connection.closing is not None
    assert connection.closing.close == STREAM_RESET
    assert len(await rows(operations, user="ada")) == 1, "what is kept stays"


async def test_without_a_server_a_reset_does_the_same(operations: Operations) -> None:
    before = operations.running_node().log.epoch
    offline = replace(operations, node=None, url=None)
    done = await act(offline, stream.RESET, NoArguments())
    assert done.before == before != done.epoch
    assert done.connections_closed == 0
    assert (await act(offline, stream.INFO, WhichStream())).epoch == done.epoch


async def test_looking_without_a_server_changes_nothing(operations: Operations) -> None:
    await add(operations)
    offline = replace(operations, node=None, url=None)
    guard = operations.settings.data_dir / "streams.guard"
    before = guard.read_bytes()
    await act(offline, stream.INFO, WhichStream(user="ada"))
    await act(offline, stream.SHOW, WhichRows(user="ada"))
    assert guard.read_bytes() == before
