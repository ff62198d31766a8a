"""What the commands on streams do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NoReturn

import orjson
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.base.clock import WALL, Clock
from app.base.errors import Problem, StorageUnavailable
from app.control import stream as commands
from app.control.actions.action import Action
from app.control.command import NoArguments
from app.control.operations import Operations
from app.control.stream import (
    Budget,
    DeviceStanding,
    Reset,
    Rows,
    RowView,
    StreamInfo,
    UserStream,
    WhichRows,
    WhichStream,
)
from app.storage import stream_info
from app.storage.cursors import device_cursors, lag
from app.storage.damage import DOCUMENTATION
from app.storage.devices import devices_of
from app.storage.schema import milliseconds
from app.storage.sums import last_unchecked
from app.storage.users import User
from app.streams.base import EVERYONE, ReadLimits, StreamLog
from app.streams.checksum import is_sound
from app.streams.generation import GUARD_NAME
from app.streams.ids import HOUR_MS, ids_by_hour
from app.streams.sql import SqlStreamLog, StreamLimits

PAGE_BYTES: Final = 4 * 1024 * 1024
"""Payload of one answer, more only if one row has more."""

MAX_LAG: Final = 100_000
"""Messages up to which the lag of a device is counted."""


async def _info(operations: Operations, arguments: WhichStream) -> StreamInfo:
    user = await operations.user(arguments.user) if arguments.user is not None else None
    async with operations.database.read() as connection:
        whole = await stream_info.figures(connection)
        stream = None
        if user is not None:
            stream = await _user_stream(operations, connection, user, whole.epoch)
    return StreamInfo(
        epoch=whole.epoch,
        last=whole.last,
        rows=whole.rows,
        rows_of_devices=whole.rows_of_devices,
        users=whole.users,
        bytes=whole.bytes,
        everyone_rows=whole.everyone_rows,
        everyone_floor=whole.everyone_floor,
        users_with_floor=whole.users_with_floor,
        oldest_at=whole.oldest_at,
        message_ids=whole.message_ids,
        user=stream,
    )


async def _user_stream(
    operations: Operations, connection: AsyncConnection, user: User, epoch: str
) -> UserStream:
    stream = await stream_info.figures_of(connection, user.id)
    return UserStream(
        user_id=user.id,
        user_handle=user.handle,
        head=stream.head,
        floor=stream.floor,
        rows=stream.rows,
        keys=stream.of_devices.keys + stream.of_backend.keys,
        of_devices=Budget(rows=stream.of_devices.rows, keys=stream.of_devices.keys),
        of_backend=Budget(rows=stream.of_backend.rows, keys=stream.of_backend.keys),
        new_ids=await _new_ids(operations, connection, user.id),
        max_new_ids=operations.settings.message_ids_per_user,
        devices=await _standings(operations, connection, user.id, epoch),
    )


async def _new_ids(operations: Operations, connection: AsyncConnection, user_id: int) -> int:
    hour = _now(operations) // HOUR_MS
    found = await connection.run_sync(ids_by_hour, [f"user:{user_id}"], hour)
    return sum(ids for _, _, ids in found)


async def _standings(
    operations: Operations, connection: AsyncConnection, user_id: int, epoch: str
) -> list[DeviceStanding]:
    online = operations.online(user_id)
    names = {one.id: one.device_name for one in await devices_of(connection, user_id)}
    found = []
    for device in (await device_cursors(connection, [user_id]))[user_id]:
        number, cursor = device.device_id, device.cursor
        current = cursor is not None and cursor.epoch == epoch
        owed = None
        if cursor is not None and current:
            owed = await lag(
                connection,
                user_id=user_id,
                device_id=number,
                after=cursor.offset,
                now=_now(operations),
                most=MAX_LAG,
            )
        found.append(
            DeviceStanding(
                device_id=number,
                device_name=names.get(number),
                online=number in online,
                cursor=cursor.offset if cursor is not None else None,
                stale=cursor is not None and not current,
                lag=owed,
            )
        )
    return found


async def _show(operations: Operations, arguments: WhichRows) -> Rows:
    user_id = EVERYONE
    if arguments.user is not None:
        user_id = (await operations.user(arguments.user)).id
    async with operations.database.read() as connection:
        read = partial(
            stream_info.rows_of,
            connection,
            user_id,
            after=arguments.after,
            now=_now(operations),
            most=arguments.limit + 1,
        )
        found = await read()
        # Whether they have really expired, only their checksums tell.
        hidden = await read(expired=True)
        old = await connection.run_sync(last_unchecked)
    for row in (*found, *hidden):
        if not is_sound(tuple(row), old):
            await _refuse(operations, user_id, row.offset)
    rows: list[RowView] = []
    size = 0
    for row in found[: arguments.limit]:
        size += len(row.payload)
        if rows and size > PAGE_BYTES:
            break
        rows.append(_view(row))
    return Rows(rows=rows, more=len(rows) < len(found))


async def _refuse(operations: Operations, user_id: int, offset: int) -> NoReturn:
    """Raise Problem `damaged`, after a running server has met the damaged message itself."""
    if operations.node is not None:
        with suppress(StorageUnavailable):
            await operations.node.log.read(user_id, offset - 1, ReadLimits(rows=1))
    raise Problem(
        503,
        "damaged",
        f"The message at offset {offset} is damaged; see {DOCUMENTATION}. "
        f"A server moves it aside; --after {offset} shows what follows.",
    )


def _view(row: Row[*tuple[Any, ...]]) -> RowView:
    return RowView(
        offset=row.offset,
        user_id=row.user_id,
        type=row.type,
        payload=orjson.loads(row.payload),
        size=len(row.payload),
        # 0 and "" mean none.
        target_device=row.target_device or None,
        without_device=row.without_device or None,
        without_instance=row.without_instance or None,
        source_device=row.source_device or None,
        source_instance=row.source_instance or None,
        key=row.key,
        created_at=row.created_at,
        expires_at=row.expires_at,
        deleted=True if row.deleted else None,
    )


async def _reset(operations: Operations, _: NoArguments) -> Reset:
    node = operations.node
    if node is None:
        async with open_log(operations, WALL) as log:
            before = log.epoch
            return Reset(before=before, epoch=await log.reset(), connections_closed=0)
    before, connections = node.log.epoch, node.manager.connection_count
    epoch = await node.reset_streams()
    return Reset(before=before, epoch=epoch, connections_closed=connections)


@asynccontextmanager
async def open_log(operations: Operations, clock: Clock) -> AsyncIterator[StreamLog]:
    """Give the log of a folder that no server uses; messages are old by this clock."""
    settings = operations.settings
    limits = StreamLimits.from_settings(settings)
    guard = settings.data_dir / GUARD_NAME
    log = await SqlStreamLog.open(operations.database, guard, limits, clock)
    try:
        yield log
        await log.stop()
    finally:
        await log.close()


def _now(operations: Operations) -> int:
    clock = operations.node.calendar if operations.node is not None else WALL
    return milliseconds(clock.trusted())


ACTIONS: Final = (
    Action(commands.INFO, _info),
    Action(commands.SHOW, _show),
    Action(commands.RESET, _reset),
)
