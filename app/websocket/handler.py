"""`GET /v1/ws`: check, authenticate, register, read, close. Reads top to bottom.

Everything that can be refused is refused before the upgrade, as an HTTP answer. From then on the
connection ends in one of two ways: the peer leaves, or `Connection.disconnect` says why it must.
"""

import asyncio
import logging
from typing import Final

from aiohttp import WSMessage, WSMsgType, web

from app.auth.identity import Identity
from app.keys import (
    ADMISSION,
    DISPATCHER,
    GUARD,
    METRICS,
    NODE,
    SESSIONS,
    SETTINGS,
)
from app.logs import fields
from app.node import Node
from app.settings import Settings
from app.version import VERSION
from app.websocket.close import INTERNAL, RATE_LIMIT, REVOKED
from app.websocket.connection import Connection
from app.websocket.dispatch import Dispatcher
from app.websocket.messages import (
    OPCODE_PONG,
    Connected,
    MessageError,
    connected,
    decode,
    error,
    frame,
    id_in,
)
from app.websocket.rate import Rate
from app.websocket.upgrade import Opening, Query, Wire

PATH: Final = "/v1/ws"
RATE_LIMIT_AFTER_MS: Final = 10_000
"""How long a peer that was cut off for its rate should stay away."""

log = logging.getLogger(__name__)

_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR})


async def ws_handler(request: web.Request) -> web.StreamResponse:
    """Serve one WebSocket from its upgrade to its end, or answer why there is none.

    What this coroutine and those it awaits hold is held for the life of the socket, so what only
    the upgrade needs stays inside of it, and reading is no coroutine of its own.
    """
    app = request.app
    node, dispatcher = app[NODE], app[DISPATCHER]
    opening = Opening(app)
    response = await app[GUARD](request, opening.upgrade)
    wire, identity, query = opening.wire, opening.identity, opening.query
    del opening
    if wire is None or identity is None:
        return response
    connection = wire.connection
    try:
        wire.begin_reading()
        register(app, connection, identity, query)
        wire.uncork()
        del identity, query
        while not connection.is_closing():
            wire.receiving = True
            message = await wire.ws.receive()
            wire.receiving = False
            if message.type in _ENDS or connection.is_closing():
                break
            await take(node, dispatcher, connection, message)
            if connection.full:
                await connection.room()
            # Else it would be held until the next one comes.
            del message
    except asyncio.CancelledError:
        if not wire.was_interrupted():
            raise
    except Exception:
        log.exception("connection failed", extra=_who(connection))
        connection.disconnect(INTERNAL)
    finally:
        wire.end_reading()
        await end(app, wire, connection)
    return response


# The connection


def register(
    app: web.Application, connection: Connection, identity: Identity, query: Query
) -> None:
    """Make the connection reachable and greet it, in one step in which nothing else can happen.

    What it missed follows from here on.

    A session that ended while the upgrade was under way is closed with 4502 instead.
    """
    if not app[SESSIONS].holds(identity):
        connection.disconnect(REVOKED)
        return
    node = app[NODE]
    node.connect(connection)
    start = node.delivery.place(connection, query.position, live=query.live)
    settings = app[SETTINGS]
    greeting = Connected(
        device_id=connection.device_id,
        server_version=VERSION,
        user_id=connection.user_id,
        connection_id=connection.connection_id,
        instance=connection.instance,
        heartbeat_seconds=_whole(settings.heartbeat_seconds),
        max_message_bytes=settings.max_message_bytes,
        resume=start,
    )
    connection.send(connected(greeting).frame)
    by_cursor = query.position is None and not query.live
    node.delivery.begin(connection, start, snapshot=query.snapshot or by_cursor)
    connection.flush()
    log.info("connected", extra=_who(connection))


def _whole(number: float) -> int | float:
    """Return 25 for 25.0: strict readers take no fraction where a whole number is meant."""
    return int(number) if number == int(number) else number


async def take(
    node: Node, dispatcher: Dispatcher, connection: Connection, message: WSMessage
) -> None:
    """Have one message of the peer handled and answered, unless it is over the limit."""
    now = connection.heard_at = node.clock()
    if message.type is WSMsgType.PONG and message.data == connection.awaited_pong:
        # It was asked for, so it counts for nothing.
        connection.awaited_pong = None
        return
    connection.frames_in += 1
    rate = connection.rate or node.limit_rate(connection)
    if rate is not None and not rate.take(_size(message), now):
        refuse_excess(connection, rate, message)
    elif message.type is not WSMsgType.TEXT:
        take_other(connection, message)
    else:
        try:
            decoded = decode(message.data)
        except MessageError as fault:
            connection.reply(error(fault.code, fault.message, fault.reply_to).frame)
            return
        answer = await dispatcher.dispatch(connection, decoded)
        if answer is not None:
            connection.reply(answer.frame)


def take_other(connection: Connection, message: WSMessage) -> None:
    """Answer a ping, refuse a binary message; a pong that nobody asked for is just that."""
    if message.type is WSMsgType.PING:
        connection.reply(frame(bytes(message.data), OPCODE_PONG))
    elif message.type is WSMsgType.BINARY:
        connection.reply(error("invalid_message", "messages are text frames").frame)


def refuse_excess(connection: Connection, rate: Rate, message: WSMessage) -> None:
    """Drop a message over the limit, saying so; a whole burst more of them ends the connection."""
    if rate.refused > rate.limit.messages_burst:
        connection.disconnect(RATE_LIMIT, after_ms=RATE_LIMIT_AFTER_MS)
    else:
        reply_to = id_in(message.data) if message.type is WSMsgType.TEXT else None
        refusal = error("rate_limited", "too many messages; this one is dropped", reply_to)
        connection.reply(refusal.frame)


def _size(message: WSMessage) -> int:
    data = message.data
    if isinstance(data, str) and not data.isascii():
        return len(data.encode())
    return len(data) if data is not None else 0


# The end


async def end(app: web.Application, wire: Wire, connection: Connection) -> None:
    """Close the connection, count and log its end, and leave nothing of it behind."""
    node = app[NODE]
    try:
        node.manager.unregister(connection)
        await close(wire, connection, app[SETTINGS])
    finally:
        wire.abort()
        node.retire(connection)
        app[ADMISSION].leave(connection.address)
        log_end(app, wire.ws, connection)
    await wire.ended()
    connection.detach()
    # They know each other, and would wait for a collection.
    wire.ws.wire = None


async def close(wire: Wire, connection: Connection, settings: Settings) -> None:
    """Say why the connection ends and give the peer a moment to answer; never waits for long."""
    closing, clock = connection.closing, asyncio.get_running_loop().time
    deadline = clock() + settings.close_seconds
    if closing is not None and not wire.ws.closed:
        if closing.keep_outbox and connection.backlog:
            await send_outbox(wire, connection, settings.shutdown_seconds)
            deadline = clock() + settings.close_seconds
        connection.flush()
        code, reason = closing.close.code, closing.close.reason.encode()
        await wire.ws.close(code=code, message=reason, drain=False)
    # aiohttp has seen the peer's close frame, but ours may still wait behind what is unsent.
    await wire.linger(max(0, deadline - clock()))


async def send_outbox(wire: Wire, connection: Connection, seconds: float) -> None:
    """Have all that waits handed over; what is left after so long is dropped."""
    try:
        async with asyncio.timeout(seconds):
            await wire.drained()
    except TimeoutError:
        connection.drop_outbox()


def log_end(app: web.Application, ws: web.WebSocketResponse, connection: Connection) -> None:
    """Count and log the end of a connection: one line with what it was."""
    closing = connection.closing
    code = closing.close.code if closing is not None else ws.close_code
    app[METRICS].closed[str(code)] += 1
    seconds = asyncio.get_running_loop().time() - connection.started_at
    extra = _who(connection)
    extra["fields"] |= fields(
        seconds=round(seconds, 1),
        frames_in=connection.frames_in,
        frames_out=connection.frames_out,
        dropped=connection.dropped or None,
        code=code,
        reason=closing.close.reason if closing is not None else None,
    )["fields"]
    log.info("disconnected", extra=extra)


def _who(connection: Connection) -> dict[str, dict[str, object]]:
    return fields(
        user=connection.user_id,
        device=connection.device_id,
        instance=connection.instance,
        connection=connection.connection_id,
        address=connection.address,
    )
