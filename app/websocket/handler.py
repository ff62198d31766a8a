"""`GET /v1/ws`: check, authenticate, register, read, close. Reads top to bottom.

Everything that can be refused is refused before the upgrade, as an HTTP answer. From then on the
connection ends in one of two ways: the peer leaves, or `Connection.disconnect` says why it must.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from aiohttp import WSMessage, WSMsgType, web

from app.auth.tokens import Identity
from app.base.foreign import NAME_LENGTH, masked
from app.base.logs import fields
from app.base.storms import at_most
from app.features.dispatch import who
from app.features.door import Door
from app.keys import ADMISSION, ANSWERING_PROBLEMS, DOOR, METRICS, NODE, SESSIONS, SETTINGS
from app.node.connection import Connection
from app.protocol.close import INTERNAL, REVOKED, SESSION_EXPIRED, label_of
from app.protocol.messages import Resume
from app.protocol.position import Query
from app.requests.route import SOCKET, Route
from app.requests.rules import SESSION, Checked
from app.settings import Settings
from app.websocket.upgrade import Opening
from app.websocket.wire import SocketWire

NORMAL: Final = 1000
"""What even a library that is better served without a close frame is told: not to come back."""

NO_CODE: Final = 1005
"""What is said of a close frame without a code; it is never sent."""

LOST: Final = 1006
"""What is said of a connection that ended without a close frame; it is never sent."""

log = logging.getLogger(__name__)

_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR})


async def ws_handler(request: web.Request) -> web.StreamResponse:
    """Serve one WebSocket from its upgrade to its end, or answer why there is none.

    What this coroutine and those it awaits hold is held for the life of the socket, so what only
    the upgrade needs stays inside of it, and reading is no coroutine of its own.
    """
    app = request.app
    door = app[DOOR]
    opening = Opening(app)
    response = await app[ANSWERING_PROBLEMS](request, opening.upgrade)
    wire, identity, query, about = opening.wire, opening.identity, opening.query, opening.about
    del opening
    if wire is None or identity is None:
        return response
    connection = wire.connection
    try:
        wire.begin_reading()
        enter(app, connection, identity, query, about)
        del identity, query, about
        while not connection.is_closing():
            wire.receiving = wire.tap.prompt = True
            message = await wire.ws.receive()
            # Also when it had not to wait: there may be more where this message was.
            wire.receiving = wire.tap.prompt = False
            if message.type in _ENDS:
                wire.last = message.type
                break
            if connection.full:
                await connection.readable()
            if connection.is_closing():
                break
            take(door, connection, message)
            # Else it would be held until the next one comes.
            del message
    except asyncio.CancelledError:
        if not wire.was_interrupted():
            raise
    except Exception:
        log.exception("connection failed", extra=who(connection))
        connection.disconnect(INTERNAL)
    finally:
        wire.end_reading()
        await end(app, wire, connection)
    return response


# The connection


def enter(
    app: web.Application,
    connection: Connection,
    identity: Identity,
    query: Query,
    about: Mapping[str, object],
) -> None:
    """Have the connection enter the node, in one step in which nothing else can happen.

    A session that ended while the upgrade was under way is closed with 4502 instead, and one whose
    time was up with 4501. `about` is what the log says of the upgrade.
    """
    sessions = app[SESSIONS]
    if not sessions.holds(identity):
        # `connected` is always the first frame, and this peer never gets it.
        close = REVOKED if sessions.in_time(identity) else SESSION_EXPIRED
        connection.disconnect(close, announce=False)
        return
    start = app[NODE].enter(connection, query)
    extra = who(connection)
    extra["fields"] |= {**resumption(query, start), **about}
    log.info("connected", extra=extra | at_most(connection.user_id))


def resumption(query: Query, start: Resume) -> dict[str, object]:
    """Return what the log says of where a connection starts, and of what it asked for."""
    asked = query.position
    return fields(
        positioned=query.positioned,
        resume=start.outcome,
        asked=masked(f"{asked.epoch}:{asked.offset}", NAME_LENGTH) if asked is not None else None,
        epoch=start.epoch,
        offset=start.offset,
        head=start.head,
    )["fields"]


def take(door: Door, connection: Connection, message: WSMessage) -> None:
    """Have a message handled and answered."""
    kind, data = message.type, message.data
    if kind is WSMsgType.TEXT:
        door.take_text(connection, data)
    elif kind is WSMsgType.PONG:
        door.take_pong(connection, data)
    elif kind is WSMsgType.PING:
        door.take_ping(connection, bytes(data))
    elif kind is WSMsgType.BINARY:
        door.take_note(connection, data)


# The end


async def end(app: web.Application, wire: SocketWire, connection: Connection) -> None:
    """Close the connection, count and log its end, and leave nothing of it behind."""
    node, finishing = app[NODE], None
    node.leave(connection)
    if connection.inflow.waiting is not None:
        # Handlers get their moment while the peer gets its own.
        finishing = asyncio.create_task(app[DOOR].lines.finish(connection))
    try:
        await close(wire, connection, app[SETTINGS])
    finally:
        wire.abort()
        try:
            if finishing is not None:
                await finishing
        finally:
            node.retire(connection)
            app[ADMISSION].leave(connection.address)
            log_end(app, wire, connection)
    await wire.ended()
    connection.detach()
    # They know each other, and would wait for a collection.
    wire.ws.wire = None


async def close(wire: SocketWire, connection: Connection, settings: Settings) -> None:
    """Say why the connection ends and give the peer a moment to answer; never waits for long."""
    closing, clock = connection.closing, asyncio.get_running_loop().time
    deadline = clock() + settings.close_seconds
    if closing is not None and not wire.ws.closed:
        if closing.keep_outbox and connection.backlog:
            await send_outbox(wire, connection, settings.shutdown_seconds)
            deadline = clock() + settings.close_seconds
        connection.flush()
        code, reason = closing.close.code, closing.close.reason.encode()
        if wire.deaf and code != NORMAL:
            wire.hang_up()
            await wire.lost(max(0, deadline - clock()))
            return
        await wire.ws.close(code=code, message=reason, drain=False)
    # aiohttp has seen the peer's close frame, but ours may still wait behind what is unsent.
    await wire.linger(max(0, deadline - clock()))


async def send_outbox(wire: SocketWire, connection: Connection, seconds: float) -> None:
    """Have all that waits handed over; what is left after so long is dropped."""
    try:
        async with asyncio.timeout(seconds):
            await wire.drained()
    except TimeoutError:
        connection.drop_outbox()


def end_of(wire: SocketWire, connection: Connection) -> tuple[str, int]:
    """Return who has ended the connection, `server`, `client` or `network`, and its close code."""
    code = wire.ws.close_code
    if connection.closing is not None:
        return "server", connection.closing.close.code
    if wire.last is WSMsgType.CLOSE:
        # aiohttp's is 0 for a close frame without one; RFC 6455, section 7.4.1, has a number.
        return "client", code or NO_CODE
    if wire.last is WSMsgType.ERROR and code not in (None, LOST):
        return "server", code
    # Not aiohttp's number, which is 1000 when the peer has closed its half without a close frame.
    return "network", LOST


def log_end(app: web.Application, wire: SocketWire, connection: Connection) -> None:
    """Count and log the end of a connection: one line with what it was."""
    closing = connection.closing
    by, code = end_of(wire, connection)
    app[METRICS].closed[label_of(code)] += 1
    seconds = asyncio.get_running_loop().time() - connection.started_at
    extra = who(connection)
    extra["fields"] |= fields(
        seconds=round(seconds, 1),
        frames_in=connection.inflow.frames,
        frames_out=connection.frames_out,
        dropped=connection.dropped or None,
        by=by,
        code=code,
        reason=closing.close.reason if closing is not None else None,
    )["fields"]
    log.info("disconnected", extra=extra | at_most(connection.user_id))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path=SOCKET,
        # The upgrade asks for the session by itself, after the checks that come before it.
        handler=Checked(SESSION, ws_handler),
        tag="Devices",
        summary="Open a WebSocket",
        what="docs/protocol.md says what goes over it.",
        status=101,
        problems=(
            "400 device_required",
            "400 invalid_parameter",
            "403 forbidden_origin",
            "426 upgrade_required",
            "429 rate_limited",
            "503 draining",
            "503 overloaded",
            "503 too_many_connections",
        ),
    ),
)
