"""`GET /v1/ws`: check, authenticate, register, read, close. Reads top to bottom.

Everything that can be refused is refused before the upgrade, as an HTTP answer. From then on the
connection ends in one of two ways: the peer leaves, or `Connection.disconnect` says why it must.
"""

import asyncio
import itertools
import logging
import re
import secrets
import time
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import WSMessage, WSMsgType, hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp_session import STORAGE_KEY

from app.auth.identity import Identity
from app.auth.origin import origin_verdict
from app.auth.peer import Peer
from app.auth.resolve import identify, peer_of
from app.errors import Problem
from app.keys import (
    ADMISSION,
    COOKIES,
    DISPATCHER,
    EPOCH,
    GUARD,
    METRICS,
    NODE,
    READINESS,
    SESSIONS,
    SETTINGS,
)
from app.logs import fields
from app.node import Node
from app.settings import Settings
from app.version import VERSION
from app.websocket.close import INTERNAL, RATE_LIMIT, REVOKED
from app.websocket.connection import DEFAULT_INSTANCE, Connection
from app.websocket.dispatch import Dispatcher
from app.websocket.messages import (
    OPCODE_PONG,
    Connected,
    MessageError,
    Resume,
    connected,
    decode,
    error,
    frame,
)
from app.websocket.rate import Rate
from app.websocket.tap import Tap
from app.websocket.wire import Cork, SocketWire, plain_socket

PATH: Final = "/v1/ws"
SUBPROTOCOL: Final = "switchboard.v1"
RATE_LIMIT_AFTER_MS: Final = 10_000
"""How long a peer that was cut off for its rate should stay away."""

Wire = SocketWire[web.WebSocketResponse]

log = logging.getLogger(__name__)

# aiohttp logs the subprotocols that a peer offers, and one of them may hold its token.
logging.getLogger("aiohttp.websocket").addFilter(lambda record: False)

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UPGRADE = re.compile(r"(?:^|,)\s*upgrade\s*(?:,|$)", re.IGNORECASE)
# 16 bytes in base64 (RFC 6455, section 4.1).
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_OFFSET = re.compile(r"[0-9]{1,19}")
_ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR})
_process = secrets.token_hex(4)
_numbers = itertools.count(1)


@dataclass(slots=True)
class Query:
    """The query parameters of an upgrade; `positioned` when any but `instance` was given."""

    instance: str | None
    positioned: bool


PLAIN: Final = Query(None, positioned=False)


async def ws_handler(request: web.Request) -> web.StreamResponse:
    """Serve one WebSocket from its upgrade to its end, or answer why there is none.

    What this coroutine and those it awaits hold is held for the life of the socket, so what only
    the upgrade needs stays inside of it.
    """
    app = request.app
    opening = Opening(app)
    response = await app[GUARD](request, opening.upgrade)
    wire, identity = opening.wire, opening.identity
    del opening
    if wire is None or identity is None:
        return response
    connection = wire.connection
    try:
        wire.begin_reading()
        register(app, connection, identity)
        wire.uncork()
        del identity
        await read(wire, connection, app)
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


# The upgrade


class Opening:
    """One upgrade under way; `wire` and `identity` are there once it has succeeded."""

    __slots__ = ("_app", "identity", "wire")

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self.wire: Wire | None = None
        self.identity: Identity | None = None

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Answer 101; raises Problem when the upgrade is refused.

        The checks come in the order that the protocol names: 426, 503, 403, 401, 400.
        """
        app = self._app
        peer = peer_of(request, app[SETTINGS].trusted_proxies)
        try:
            check_handshake(request)
            if app[READINESS].draining:
                seconds = app[SETTINGS].retry_after_seconds
                raise Problem(503, "draining", "The server is stopping.", retry_after=seconds)
            return await self._admitted(request, peer)
        except Problem as refusal:
            app[METRICS].refused[refusal.code] += 1
            # A dead session may knock every few seconds for ever: that is worth no line.
            level = logging.DEBUG if refusal.status == 401 else logging.INFO
            log.log(level, "refused", extra=fields(reason=refusal.code, address=peer.address))
            raise

    async def _admitted(self, request: web.Request, peer: Peer) -> web.StreamResponse:
        admission = self._app[ADMISSION]
        admission.enter(peer.address)
        try:
            return await self._open(request, peer)
        finally:
            admission.handshakes -= 1
            if self.wire is None:
                admission.leave(peer.address)

    async def _open(self, request: web.Request, peer: Peer) -> web.StreamResponse:
        """Authenticate, answer, and put the wire between the socket and the connection."""
        app = self._app
        identity, query = await enter(request, app, peer)
        ws = upgrade_response(app[SETTINGS])
        raw = plain_socket(request.transport)
        cork = Cork(raw)
        writer = await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        wire = SocketWire(ws, transport, raw, writer, cork)
        wire.connection = new_connection(request, app[NODE], wire, identity, query, peer)
        protocol = cast(asyncio.Protocol, transport.get_protocol())
        wire.tap = Tap(protocol, wire.connection, app[NODE].arrivals)
        transport.set_protocol(wire.tap)
        self.wire, self.identity = wire, identity
        return ws


def check_handshake(request: web.Request) -> None:
    """Raise Problem 426 unless this is a handshake of RFC 6455, section 4.2.1."""
    headers = request.headers
    if (
        request.method != hdrs.METH_GET
        or request.version < HttpVersion11
        or headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket"
        or not _UPGRADE.search(headers.get(hdrs.CONNECTION, ""))
        or headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != "13"
        or not _KEY.fullmatch(headers.get(hdrs.SEC_WEBSOCKET_KEY, ""))
    ):
        raise Problem(
            426, "upgrade_required", "This is a WebSocket of version 13 over HTTP/1.1 (RFC 6455)."
        )


async def enter(request: web.Request, app: web.Application, peer: Peer) -> tuple[Identity, Query]:
    """Return who this is and what they ask for.

    Raises Problem 403 (origin), 401 (no session), 400 (a session without a device, a parameter).
    """
    if hdrs.COOKIE in request.headers:
        request[STORAGE_KEY] = app[COOKIES]
    origin = request.headers.get(hdrs.ORIGIN)
    verdict = origin_verdict(origin, peer.host, app[SETTINGS].allowed_origins)
    if verdict == "refused":
        raise Problem(403, "forbidden_origin", "This origin may not connect.")
    identity = await identify(request, app[SESSIONS], verdict)
    if identity.device_id is None:
        raise Problem(400, "device_required", "This session belongs to no device.")
    return identity, parse_query(request)


def parse_query(request: web.Request) -> Query:
    """Return the parameters that we know; raises Problem 400 when one of them is malformed."""
    if not request.query_string:
        return PLAIN
    query = request.query
    instance = query.get("instance")
    if instance is not None and not _INSTANCE.fullmatch(instance):
        raise _parameter("instance is 1 to 64 of A-Z, a-z, 0-9, _ and -")
    epoch, offset = query.get("epoch"), query.get("offset")
    if (epoch is None) != (offset is None):
        raise _parameter("epoch and offset go together")
    if offset is not None and not _OFFSET.fullmatch(offset):
        raise _parameter("offset is a whole number, 0 or more")
    if query.get("resume", "live") != "live":
        raise _parameter('resume can only be "live"')
    if query.get("snapshot", "1") not in ("0", "1"):
        raise _parameter("snapshot is 1 or 0")
    positioned = not query.keys().isdisjoint({"epoch", "resume", "snapshot"})
    return Query(instance, positioned)


def _parameter(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", f"{detail}.")


def upgrade_response(settings: Settings) -> web.WebSocketResponse:
    """Return the response that upgrades; pings and pongs stay ours."""
    return web.WebSocketResponse(
        timeout=settings.close_seconds,
        autoping=False,
        heartbeat=None,
        compress=False,
        protocols=(SUBPROTOCOL,),
        # aiohttp's limit is exclusive.
        max_msg_size=settings.max_message_bytes + 1,
    )


# The connection


def new_connection(
    request: web.Request,
    node: Node,
    wire: Wire,
    identity: Identity,
    query: Query,
    peer: Peer,
) -> Connection:
    """Return the connection of this socket, not yet registered."""
    connection_id = f"{_process}-{next(_numbers)}"
    # A page that names no instance gets one of its own, so that tabs live side by side.
    fallback = connection_id if hdrs.ORIGIN in request.headers else DEFAULT_INSTANCE
    return Connection(
        wire,
        node.outgoing,
        user_id=identity.user_id,
        device_id=cast(int, identity.device_id),
        connection_id=connection_id,
        instance=query.instance or fallback,
        session_id=identity.session_id,
        expires_at=identity.expires_at,
        address=peer.address,
        positioned=query.positioned,
        connected_at=time.time(),
        now=node.clock(),
    )


def register(app: web.Application, connection: Connection, identity: Identity) -> None:
    """Make the connection reachable and greet it, in one step in which nothing else can happen.

    A session that ended while the upgrade was under way is closed with 4502 instead.
    """
    if not app[SESSIONS].holds(identity):
        connection.disconnect(REVOKED)
        return
    app[NODE].connect(connection)
    settings = app[SETTINGS]
    greeting = Connected(
        device_id=connection.device_id,
        server_version=VERSION,
        user_id=connection.user_id,
        connection_id=connection.connection_id,
        instance=connection.instance,
        heartbeat_seconds=_whole(settings.heartbeat_seconds),
        max_message_bytes=settings.max_message_bytes,
        resume=Resume("live", app[EPOCH], 0, 0),
    )
    connection.send(connected(greeting).frame)
    connection.flush()
    log.info("connected", extra=_who(connection))


def _whole(number: float) -> int | float:
    """Return 25 for 25.0: strict readers take no fraction where a whole number is meant."""
    return int(number) if number == int(number) else number


async def read(wire: Wire, connection: Connection, app: web.Application) -> None:
    """Take messages until the peer leaves or the connection is closing."""
    node, dispatcher = app[NODE], app[DISPATCHER]
    while not connection.is_closing():
        wire.receiving = True
        message = await wire.ws.receive()
        wire.receiving = False
        if message.type in _ENDS or connection.is_closing():
            return
        now = connection.heard_at = node.clock()
        if message.type is WSMsgType.PONG and message.data == connection.awaited_pong:
            # It was asked for, so it counts for nothing.
            connection.awaited_pong = None
        else:
            connection.frames_in += 1
            rate = connection.rate or node.limit_rate(connection)
            if rate is not None and not rate.take(_size(message), now):
                refuse_excess(connection, rate)
            elif message.type is WSMsgType.TEXT:
                await take_text(connection, dispatcher, message.data)
            else:
                take_other(connection, message)
            if connection.full:
                await connection.room()
        # Else it would be held until the next one comes.
        del message


async def take_text(connection: Connection, dispatcher: Dispatcher, text: str) -> None:
    """Have one text message handled and answered."""
    try:
        message = decode(text)
    except MessageError as fault:
        connection.reply(error(fault.code, fault.message, fault.reply_to).frame)
        return
    answer = await dispatcher.dispatch(connection, message)
    if answer is not None:
        connection.reply(answer.frame)


def take_other(connection: Connection, message: WSMessage) -> None:
    """Answer a ping, refuse a binary message; a pong that nobody asked for is just that."""
    if message.type is WSMsgType.PING:
        connection.reply(frame(bytes(message.data), OPCODE_PONG))
    elif message.type is WSMsgType.BINARY:
        connection.reply(error("invalid_message", "messages are text frames").frame)


def refuse_excess(connection: Connection, rate: Rate) -> None:
    """Drop a message over the limit, saying so; a whole burst more of them ends the connection."""
    if rate.refused > rate.limit.messages_burst:
        connection.disconnect(RATE_LIMIT, after_ms=RATE_LIMIT_AFTER_MS)
    else:
        connection.reply(error("rate_limited", "too many messages; this one is dropped").frame)


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
