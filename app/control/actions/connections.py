"""What the commands on live connections do."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from ipaddress import ip_address
from typing import Final

from app.auth.names import UNKNOWN_TYPE
from app.base.errors import Problem
from app.base.logs import fields
from app.control import connections as commands
from app.control.actions.action import Action, FeedAction
from app.control.connections import (
    KICKS,
    ConnectionView,
    Kick,
    Kicked,
    TailLine,
    WhatToTail,
    WhichConnections,
    network_of,
)
from app.control.operations import Operations
from app.node.connection import Connection
from app.node.node import Node
from app.node.tails import Passage, Tail, Types
from app.protocol.close import Selector
from app.publishing.publisher import connection_not_found
from app.storage.directory import DeviceName, UserName, device_names, user_names
from app.storage.schema import milliseconds

STEP: Final = 100
"""Connections that are described or closed in one go, in some 2 ms; then the event loop has its
turn."""

LOOK: Final = 1000
"""Connections whose addresses are compared in one go, in some 3 ms."""

ALIVE_SECONDS: Final = 5.0
"""Between two signs of life of a tail on which nothing happens."""

log = logging.getLogger(__name__)


async def _list(
    operations: Operations, which: WhichConnections
) -> AsyncGenerator[Sequence[ConnectionView], None]:
    node = operations.running_node()
    found = await _matching(operations, which)
    for start in range(0, len(found), STEP):
        # Some may have ended meanwhile.
        some = [one for one in found[start : start + STEP] if node.manager.is_registered(one)]
        async with operations.database.read() as connection:
            users = await user_names(connection, {one.user_id for one in some})
            devices = await device_names(connection, {one.device_id for one in some})
        yield [_view(node, one, users.get(one.user_id), devices.get(one.device_id)) for one in some]


async def _kick(operations: Operations, which: Kick) -> Kicked:
    if not which.model_dump(include=set(WhichConnections.model_fields), exclude_none=True):
        raise Problem(400, "invalid_arguments", "Say which connections to close.")
    node, close = operations.running_node(), KICKS[which.code]
    found = await _matching(operations, which)
    closed = 0 if which.dry_run else await _close(node, found, which.code)
    if closed:
        told = fields(
            connection_id=which.connection_id,
            user=which.user,
            device_id=which.device_id,
            address=which.address,
            code=close.code,
            count=closed,
        )
        log.info("connections kicked", extra=told)
    return Kicked(
        matched=len(found),
        closed=closed,
        code=close.code,
        reason=close.reason,
        reconnect=close.reconnect,
    )


async def _close(node: Node, found: Sequence[Connection], code: int) -> int:
    """Close the connections, and have their clients come back one after the other."""
    window_ms, closed = node.limits.reconnect_window * 1000, 0
    for number, connection in enumerate(found):
        if number and number % STEP == 0:
            await asyncio.sleep(0)
        if node.manager.is_registered(connection):
            after_ms = int(window_ms * number / len(found)) if KICKS[code].reconnect else 0
            node.close(connection, KICKS[code], after_ms=after_ms)
            closed += 1
    return closed


async def _tail(
    operations: Operations, what: WhatToTail
) -> AsyncGenerator[Sequence[TailLine], None]:
    if what.address is not None:
        raise Problem(400, "invalid_arguments", "A tail follows no address.")
    node = operations.running_node()
    selector = await _selector(operations, what)
    if what.connection_id is not None and not node.manager.connections(selector):
        raise connection_not_found()
    tail = Tail(selector, Types.of(what.types), payloads=what.payloads)
    about = {
        "connection_id": what.connection_id,
        "user": what.user,
        "device_id": what.device_id,
    }
    log.info("tail began", extra=fields(**about, payloads=what.payloads))
    try:
        async with node.tail(tail):
            count = len(await _matching(operations, what))
            yield [TailLine(what="began", at=milliseconds(node.calendar.stamp()), count=count)]
            while True:
                passages = await tail.take(ALIVE_SECONDS)
                yield [_line(one) for one in passages]
                if what.connection_id is not None and _has_ended(passages):
                    return
    finally:
        log.info("tail ended", extra=fields(**about, lines=tail.lines, lost=tail.lost))


def _has_ended(passages: Sequence[Passage]) -> bool:
    return any(one.what == "closed" for one in passages)


async def _matching(operations: Operations, which: WhichConnections) -> list[Connection]:
    """Return the connections that match, as they are now."""
    selector = await _selector(operations, which)
    manager = operations.running_node().manager
    found = manager.connections(selector if selector != Selector() else None)
    if which.address is None:
        return found
    network = network_of(which.address)
    matching: list[Connection] = []
    for start in range(0, len(found), LOOK):
        if start:
            await asyncio.sleep(0)
        matching += [
            one
            for one in found[start : start + LOOK]
            if one.address and ip_address(one.address) in network
        ]
    return matching


async def _selector(operations: Operations, which: WhichConnections) -> Selector:
    """Return what selects the connections, address apart; raises Problem.

    A device is selected by its user too, whose connections are found without looking at all.
    """
    user_id = None
    if which.user is not None:
        user_id = (await operations.user(which.user)).id
    elif which.device_id is not None:
        user_id = (await operations.accounts.get_device(which.device_id)).user_id
    return Selector(user_id=user_id, device_id=which.device_id, connection_id=which.connection_id)


def _view(
    node: Node, connection: Connection, user: UserName | None, device: DeviceName | None
) -> ConnectionView:
    return ConnectionView(
        connection_id=connection.connection_id,
        user_id=connection.user_id,
        user_handle=user and user.handle,
        subject=user and user.sub,
        device_id=connection.device_id,
        device_name=device and device.device_name,
        device_type=device.device_type if device is not None else UNKNOWN_TYPE,
        instance=connection.instance,
        address=connection.address,
        positioned=connection.positioned,
        behind=connection.place.behind,
        slow=connection in node.outgoing.slow,
        tailed=connection.tailed,
        lag=node.delivery.lag_of(connection),
        queue_frames=connection.backlog,
        queue_bytes=connection.backlog_bytes,
        connected_at=milliseconds(connection.connected_at),
        heard_seconds=max(0, int(node.clock() - connection.inflow.heard_at)),
        messages_in=connection.inflow.frames,
        messages_out=connection.frames_out,
        dropped=connection.dropped,
    )


def _line(passage: Passage) -> TailLine:
    if passage.what == "lost":
        return TailLine(what="lost", at=milliseconds(passage.at), count=passage.count)
    return TailLine(
        what=passage.what,
        at=milliseconds(passage.at),
        connection_id=passage.connection_id,
        user_id=passage.user_id,
        device_id=passage.device_id,
        instance=passage.instance,
        type=passage.type,
        id=passage.id,
        offset=passage.offset,
        bytes=passage.size,
        payload=passage.payload,
        code=passage.code,
        reason=passage.reason,
    )


ACTIONS: Final = (Action(commands.KICK, _kick),)
FEEDS: Final = (FeedAction(commands.LIST, _list), FeedAction(commands.TAIL, _tail))
