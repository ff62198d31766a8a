"""The upgrade of `GET /v1/ws`: what is refused before it, and who comes in."""

import asyncio
import itertools
import logging
import re
import secrets
import sys
from functools import lru_cache
from typing import Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp_session import STORAGE_KEY

from app.auth.peer import Peer, origin_verdict
from app.auth.tokens import Identity
from app.base.errors import Problem
from app.base.foreign import masked
from app.base.logs import fields
from app.base.storms import at_most
from app.keys import ADMISSION, COOKIES, DOOR, METRICS, NODE, READINESS, SESSIONS, SETTINGS, SOCKETS
from app.node.connection import DEFAULT_INSTANCE, Connection
from app.node.node import Node
from app.protocol.position import PARAMETERS, PLAIN, Position, Query
from app.requests.identity import identify
from app.requests.peer import origin_header, peer_of
from app.requests.reading import (
    refuse_other_encodings,
    with_one_protocol,
    with_whole_fields,
)
from app.settings import Settings
from app.websocket.tap import Tap
from app.websocket.wire import Socket, SocketWire, plain_socket

SUBPROTOCOL: Final = "switchboard.v1"

_SUBPROTOCOLS: Final = (SUBPROTOCOL,)

AGENT_LENGTH: Final = 200
"""Characters of a User-Agent in the log: the longest ones of browsers have 170."""

log = logging.getLogger(__name__)

# aiohttp logs the subprotocols that a peer offers, and one of them may hold its token.
logging.getLogger("aiohttp.websocket").addFilter(lambda record: False)

_INSTANCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UPGRADE = re.compile(r"(?:^|,)\s*upgrade\s*(?:,|$)", re.IGNORECASE)
# 16 bytes in base64 (RFC 6455, section 4.1).
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_OFFSET = re.compile(r"[0-9]{1,19}")
_process = secrets.token_hex(4)
_numbers = itertools.count(1)


class Opening:
    """One upgrade under way; wire, identity, query and about are set once it has succeeded.

    `about` is what the log says of the request.
    """

    __slots__ = ("_app", "about", "identity", "query", "wire")

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self.wire: SocketWire | None = None
        self.identity: Identity | None = None
        self.query = PLAIN
        self.about: dict[str, Any] = {}

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Answer 101; raises Problem when the upgrade is refused.

        The checks come in the order of docs/protocol.md: 426, 503, 403, 401, 429, 400.
        """
        app = self._app
        request = with_one_protocol(with_whole_fields(request))
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
            extra = fields(reason=refusal.code, address=peer.address, agent=user_agent(request))
            log.log(level, "refused", extra=extra | at_most(peer.networks[-1]))
            raise

    async def _admitted(self, request: web.Request, peer: Peer) -> web.StreamResponse:
        admission = self._app[ADMISSION]
        admission.enter(peer.address)
        try:
            await admission.turn()
            return await self._open(request, peer)
        finally:
            admission.settle(peer.address, upgraded=self.wire is not None)

    async def _open(self, request: web.Request, peer: Peer) -> web.StreamResponse:
        """Authenticate, answer 101, and connect the socket to a new connection by a wire."""
        app = self._app
        identity, query = await authenticate(request, app, peer)
        device_id = cast(int, identity.device_id)
        standings = app[NODE].delivery.standings
        if not standings.knows(identity.user_id, device_id):
            await standings.prepare(identity.user_id, device_id)
        ws = upgrade_response(app[SETTINGS])
        raw = plain_socket(request.transport)
        writer = await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws
        wire = SocketWire(ws, transport, raw, writer)
        wire.deaf = not query.positioned and is_deaf(request)
        wire.connection = new_connection(request, app[NODE], wire, identity, query, peer)
        protocol = cast(asyncio.Protocol, transport.get_protocol())
        wire.tap = Tap(protocol, transport, wire.connection, app[DOOR])
        transport.set_protocol(wire.tap)
        app[SOCKETS].upgrade(protocol)
        ws.wire = self.wire = wire
        self.identity, self.query = identity, query
        self.about = about(request, peer, identity, ws)
        return ws


def about(request: web.Request, peer: Peer, identity: Identity, ws: Socket) -> dict[str, Any]:
    """Return what the log says of the request of a connection."""
    return fields(
        tls=peer.scheme == "https",
        via=identity.via if identity.session_id is not None else f"jwt in {identity.via}",
        subprotocol=ws.ws_protocol,
        agent=user_agent(request),
    )["fields"]


def user_agent(request: web.Request) -> str | None:
    """Return the User-Agent as the log shows it; None without one."""
    return masked(request.headers.get(hdrs.USER_AGENT, ""), AGENT_LENGTH) or None


def is_deaf(request: web.Request) -> bool:
    """Tell whether the peer's library reads no more once it has a close frame.

    OkHttp then waits for its app to answer. One that does not is deaf until it gives up a ping,
    which takes half a minute; an end without a close frame it sees at once.
    """
    return request.headers.get(hdrs.USER_AGENT, "").startswith("okhttp/")


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


async def authenticate(
    request: web.Request, app: web.Application, peer: Peer
) -> tuple[Identity, Query]:
    """Return whose request this is, and what its query asks for.

    Raises Problem 403 (origin), 401 (no session), 429 (the user connects too often), 400 (a session
    without a device, a parameter).
    """
    if hdrs.COOKIE in request.headers:
        request[STORAGE_KEY] = app[COOKIES]
    verdict = origin_verdict(origin_header(request), peer, app[SETTINGS].allowed_origins)
    if verdict == "refused":
        raise Problem(403, "forbidden_origin", "This origin may not connect.")
    identity = await identify(request, app[SESSIONS], verdict)
    app[NODE].allowances.charge(identity.user_id, "upgrades")
    if identity.device_id is None:
        raise Problem(400, "device_required", "This session belongs to no device.")
    return identity, parse_query(request)


def parse_query(request: web.Request) -> Query:
    """Return the known parameters of the query; raises Problem 400 for a malformed one."""
    # What aiohttp works out of a request it keeps, here for the life of the socket; the URL's own
    # memory has room for one thing more.
    if not request.rel_url.raw_query_string:
        return PLAIN
    refuse_other_encodings(request)
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
    position = Position(epoch, int(offset)) if epoch is not None and offset is not None else None
    return Query(
        instance,
        positioned=not query.keys().isdisjoint(PARAMETERS),
        position=position,
        live="resume" in query,
        snapshot=query.get("snapshot") == "1",
    )


def _parameter(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", f"{detail}.")


def upgrade_response(settings: Settings) -> Socket:
    """Return the response that upgrades; the server answers pings and sends its own."""
    ws = Socket(
        timeout=settings.close_seconds,
        autoping=False,
        heartbeat=None,
        compress=False,
        protocols=_SUBPROTOCOLS,
        max_msg_size=_exclusive(settings.max_message_bytes),
    )
    ws.wire = None
    return ws


@lru_cache(maxsize=1)
def _exclusive(limit: int) -> int:
    """Return the limit as aiohttp wants it, cached: else each socket held an integer of its own."""
    return limit + 1


def new_connection(
    request: web.Request,
    node: Node,
    wire: SocketWire,
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
        handle=identity.handle,
        instance=query.instance or fallback,
        session_id=identity.session_id,
        expires_at=identity.expires_at,
        # Often a proxy's, so one text for all.
        address=sys.intern(peer.address),
        positioned=query.positioned,
        connected_at=node.calendar.stamp(),
        now=node.clock(),
    )
