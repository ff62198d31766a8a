"""What comes in before aiohttp: sockets are counted, and wait for their headers at little cost.

aiohttp makes a parser, a task and a timer for each socket, some 20 KB, and gives one that sends
nothing over a minute. So it gets a socket only when the headers of the first request are complete.
"""

import asyncio
import logging
import re
import socket
import ssl
import sys
from array import array
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web

from app.auth.peer import counted_network
from app.base.accepting import Acceptor
from app.base.errors import Problem
from app.base.logs import fields
from app.keys import METRICS, SETTINGS, SOCKETS
from app.node.sockets import IDLE, LATE, OVERLOADED, REPLACED, TOO_MANY, Sockets
from app.web.access import handler_args
from app.web.headers import SECURITY_HEADERS, SERVER
from app.web.problems import PROBLEM_TYPE, problem_body

if sys.platform != "win32":
    import fcntl
    import termios

BACKLOG: Final = 4096
"""Handshakes that the system queues for us; Linux caps it at net.core.somaxconn."""

MAX_HEAD_BYTES: Final = 16_384
"""Of an unfinished request; aiohttp then judges whether its lines are too long."""

REFUSED_AT_ONCE: Final = 8
"""Refused sockets that are held until their request is there; else a reset would overtake the
answer. One more, and the oldest is closed."""

_SWEEPS: Final = 10
"""Times in `header_seconds` (`keepalive_seconds` if that is shorter) that old sockets are looked
for."""

_SPARE_SECONDS: Final = 60
"""What aiohttp's own timer for sockets that rest leaves to the sweep."""

_FIRST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \r\n]+ HTTP/1\.[01]\r?\n")
_BEGINNING: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}( [^\r\n]*\r?)?")

_DETAILS: Final = {
    OVERLOADED: "The server has as many connections as it can take.",
    TOO_MANY: "This address has too many connections.",
}

log = logging.getLogger(__name__)


def answer(problem: Problem) -> bytes:
    """Return the answer as it goes over the wire, to whom aiohttp does not know."""
    body = problem_body(problem)
    headers = {
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Server": SERVER,
        **SECURITY_HEADERS,
    }
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    status = HTTPStatus(problem.status)
    return f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode() + body


_TOO_LATE: Final = answer(Problem(408, "request_timeout", "The request took too long."))


class Handler(web.RequestHandler):
    """aiohttp's protocol of one socket, which tells when it rests and when it is lost."""

    __slots__ = ("_sockets", "counted", "network")

    def __init__(self, sockets: Sockets, network: str | None, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._sockets = sockets
        self.network = network
        self.counted = False

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Log the request, which has its answer now."""
        super().log_access(request, response, time)
        self._sockets.rest(self)

    def data_received(self, data: bytes) -> None:
        """Pass it on, and note that a request begins if it is the first of one.

        An empty line before a request is none of it (RFC 9112, section 2.2).
        """
        if self._sockets.rests(self) and data.strip(b"\r\n"):
            self._sockets.stir(self)
        super().data_received(data)

    def is_silent(self) -> bool:
        """Tell whether the system holds no byte of the peer's."""
        return self.transport is None or not has_unread(self.transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass it on, and count the socket no more."""
        self._sockets.leave(self)
        super().connection_lost(exc)

    def drop(self, reason: str) -> None:
        """Close the socket, at once unless its answer may not have left yet."""
        transport = self.transport
        if transport is None:
            return
        if reason in (REPLACED, IDLE):
            transport.close()
            return
        if reason == LATE and not transport.get_write_buffer_size():
            transport.write(_TOO_LATE)
            transport.close()
        else:
            transport.abort()


class Front(asyncio.Protocol):
    """Stands for a socket until the headers of its first request are complete."""

    __slots__ = ("_accepted", "_begun", "_gate", "_transport", "counted", "network")

    def __init__(self, gate: "Gate", accepted: socket.socket, network: str | None) -> None:
        self._gate = gate
        self._accepted = accepted
        self._begun = bytearray()
        self._transport: asyncio.Transport | None = None
        self.network = network
        self.counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport; under TLS, this comes after the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if not self.counted:
            # Dropped while it had none.
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand everything to aiohttp once it has something to do."""
        searched = max(0, len(self._begun) - 3)
        self._begun += data
        if self._begun.find(b"\r\n\r\n", searched) >= 0 or not is_beginning(self._begun):
            self._hand_over()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count the socket no more."""
        self._gate.sockets.leave(self)

    def is_silent(self) -> bool:
        """Tell that nothing is awaited: a socket of which no request has come does not rest."""
        return True

    def drop(self, reason: str) -> None:
        """Close the socket at once, and say why if that can be of use."""
        if self._transport is None:
            # Its handshake is under way: let that fail.
            with suppress(OSError):
                self._accepted.shutdown(socket.SHUT_RDWR)
            return
        if self._begun or reason != LATE:
            self._gate.say(self._accepted, reason)
        self._transport.abort()

    def _hand_over(self) -> None:
        transport = self._transport
        if transport is None or not self.counted:
            return
        handler = self._gate.handler(self.network)
        self._gate.sockets.succeed(self, handler)
        transport.set_protocol(handler)
        handler.connection_made(transport)
        handler.data_received(bytes(self._begun))


def is_beginning(data: bytes | bytearray) -> bool:
    """Tell whether an unfinished request of HTTP/1 may begin so; aiohttp answers all else."""
    if len(data) > MAX_HEAD_BYTES or b"\n\n" in data:
        return False
    return bool((_FIRST_LINE.match if b"\n" in data else _BEGINNING.fullmatch)(data))


class Gate:
    """Lets sockets in as far as there is room, and answers the others itself."""

    def __init__(self, app: web.Application, server: web.Server, *, tls: bool) -> None:
        """Take the sockets of the application's `server`, as its runner has made it."""
        settings = app[SETTINGS]
        self.sockets = app[SOCKETS]
        self._server = server
        self._options = handler_args(settings, app[METRICS].answers)
        # The server's own, not of each socket.
        del self._options["handler_cancellation"]
        # The sweep closes those that rest: aiohttp's timer would not see a request that has come
        # and is not read yet.
        self._options["keepalive_timeout"] = 2 * settings.keepalive_seconds + _SPARE_SECONDS
        self._loop = asyncio.get_running_loop()
        self._proxies = settings.trusted_proxies
        self._tls = tls
        self._sweep_seconds = min(settings.header_seconds, settings.keepalive_seconds) / _SWEEPS
        retry = settings.retry_after_seconds
        self._answers = {
            code: answer(Problem(503, code, detail, retry_after=retry))
            for code, detail in _DETAILS.items()
        }
        self._answers[REPLACED] = self._answers[OVERLOADED]
        self._answers[LATE] = _TOO_LATE
        self._refused: deque[socket.socket] = deque()
        server.request_factory = noting(self.sockets, server.request_factory)

    def handler(self, network: str | None) -> Handler:
        """Return aiohttp's protocol for one socket."""
        return Handler(self.sockets, network, self._server, loop=self._loop, **self._options)

    def protocol_for(self, accepted: socket.socket, address: object) -> Front | None:
        """Return what stands for the socket; None if it was refused."""
        text = str(address[0]) if isinstance(address, tuple) else ""
        network = counted_network(text, self._proxies)
        reason = self.sockets.refusal(network)
        if reason is None:
            front = Front(self, accepted, network)
            self.sockets.enter(front)
            return front
        log.warning("socket refused", extra=fields(reason=reason, network=network))
        self._refuse(accepted, reason)
        return None

    def turn_away(self, accepted: socket.socket) -> None:
        """Answer 503 to a socket that the caller closes."""
        self.say(accepted, OVERLOADED)

    def say(self, accepted: socket.socket, reason: str) -> bool:
        """Answer on a socket that is closed next; return whether its request was there."""
        if self._tls:
            return True
        try:
            accepted.send(self._answers[reason])
            accepted.shutdown(socket.SHUT_WR)
            # What is unread at the close has the system send a reset, which overtakes the answer.
            accepted.recv(MAX_HEAD_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    async def run(self) -> None:
        """Drop late sockets until cancelled."""
        while True:
            await asyncio.sleep(self._sweep_seconds)
            self.sockets.drop_late()

    def close(self) -> None:
        """Drop the sockets that have begun no request, and those that are being refused."""
        self.sockets.drop_waiting()
        while self._refused:
            self._forget(self._refused[0])

    def _refuse(self, accepted: socket.socket, reason: str) -> None:
        """Answer, and close the socket once its request has come."""
        if self.say(accepted, reason):
            accepted.close()
        else:
            self._hold(accepted)

    def _hold(self, accepted: socket.socket) -> None:
        """Keep a refused socket until its request comes, or others need its place."""
        if len(self._refused) >= REFUSED_AT_ONCE:
            self._forget(self._refused[0])
        self._refused.append(accepted)
        self._loop.add_reader(accepted.fileno(), self._come, accepted)

    def _come(self, accepted: socket.socket) -> None:
        with suppress(OSError):
            accepted.recv(MAX_HEAD_BYTES)
        self._forget(accepted)

    def _forget(self, accepted: socket.socket) -> None:
        self._refused.remove(accepted)
        self._loop.remove_reader(accepted.fileno())
        accepted.close()


def has_unread(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the system holds bytes of the peer's that the event loop has not read."""
    if sys.platform == "win32":
        return False
    descriptor = transport.get_extra_info("socket").fileno()
    count = array("i", [0])
    with suppress(OSError):
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0] > 0


def noting(sockets: Sockets, make_request: Callable[..., web.BaseRequest]) -> Any:
    """Return what makes aiohttp's requests, and notes whose they are.

    A target that is no path (RFC 9112, sections 3.2.3 and 3.2.4) becomes one, since aiohttp has
    no route for it and would answer in plain text.
    """

    def make(message: Any, payload: Any, protocol: Any, *more: Any) -> web.BaseRequest:
        if isinstance(protocol, Handler):
            sockets.begin(protocol)
        request = make_request(message, payload, protocol, *more)
        # The first check spares the second to all but a few.
        if message.path.startswith("/") or request.rel_url.raw_path.startswith("/"):
            return request
        return request.clone(rel_url="/*")

    return make


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that accepts connections."""

    gate: Gate
    accept_no_more: Callable[[], None]
    """Leaves what comes in to the next process that has the listeners."""


@asynccontextmanager
async def listening(
    runner: web.AppRunner,
    app: web.Application,
    listeners: Sequence[socket.socket],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Listening]:
    """Accept connections for the application, whose runner is set up, inside the block.

    Sockets that have begun a request are ended by the runner's clean-up.
    """
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    gate = Gate(app, server, tls=tls is not None)
    if sys.platform == "win32":
        # Its event loop tells of no listener that is ready: there, aiohttp accepts, and unlimited.
        sites = [web.SockSite(runner, one, ssl_context=tls, backlog=BACKLOG) for one in listeners]
        for site in sites:
            await site.start()
        yield Listening(gate, lambda: None)
        return
    acceptor = Acceptor(
        listeners,
        gate.protocol_for,
        backlog=BACKLOG,
        failures=app[METRICS].accept_failures,
        refuse=gate.turn_away,
        tls=tls,
        handshake_seconds=app[SETTINGS].header_seconds,
    )
    acceptor.start()
    sweeping = asyncio.create_task(gate.run(), name="gate")
    try:
        yield Listening(gate, acceptor.stop)
    finally:
        sweeping.cancel()
        await asyncio.wait([sweeping])
        await acceptor.close()
        gate.close()
