"""The access log: one line for each request, and none of a stranger's bytes in it or in a 400."""

import logging
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, ClassVar, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong

from app.base.counts import OTHER, UNREADABLE, Answers
from app.base.errors import Problem
from app.base.foreign import clean, masked
from app.base.logs import fields
from app.base.storms import at_most
from app.requests.peer import request_peer
from app.requests.route import ROUTE, SOCKET
from app.settings import Settings
from app.web.headers import SECURITY_HEADERS, SERVER
from app.web.health import PROBES
from app.web.problems import PROBLEM_TYPE, problem_body

LINGERING_SECONDS: Final = 2
"""How long the rest of a body is read after its answer, so that the client can read the answer."""

MAX_URI_BYTES: Final = 8190
"""Of path and query, as aiohttp and nginx have it by default."""

MAX_FIELD_BYTES: Final = 16_384
"""Of one header field, name and value: a browser sends the cookies of all programs of a host in
one, and must not be locked out by theirs."""

_TOO_MANY_FIELDS: Final = "Too many headers received"
"""What aiohttp says of more than 128 header fields."""

REQUEST_LINES: Final = 200
"""Requests of one address that are logged at once, and then ten a second: several people who load
the web app, or a script."""

CLOSED_HANDLE: Final = "the handler is closed"
"""What uvloop says of a write to a transport that it has closed; asyncio drops what is written."""

_MAX_METHOD: Final = 20
_MAX_PATH: Final = 200

access_log = logging.getLogger(__name__)
server_log = logging.getLogger("app.web.server")

_ExcInfo = (
    BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | bool | None
)


def handler_args(settings: Settings, answers: Answers) -> dict[str, Any]:
    """Return `handler_args` for `web.Application`: how every connection is parsed and logged.

    Every answer is counted in `answers`.
    """
    return {
        # aiohttp makes one for each connection, and gives it nothing of ours.
        "access_log_class": type("AccessLogger", (AccessLogger,), {"answers": answers}),
        "access_log": access_log,
        "logger": ServerLogger(server_log, {}),
        "keepalive_timeout": settings.keepalive_seconds,
        "lingering_time": LINGERING_SECONDS,
        # aiohttp's default, but not its test server's: a client that hangs up cancels no write.
        "handler_cancellation": False,
        # Bodies are small: ours refuse a compressed one instead of unpacking it.
        "auto_decompress": False,
        # Unlike each other, these tell which of the two was exceeded.
        "max_line_size": MAX_URI_BYTES,
        "max_field_size": MAX_FIELD_BYTES,
    }


class MalformedRequest(web.HTTPBadRequest):
    """The answer to what aiohttp can't read; `fault` names the kind of mistake."""

    problem = Problem(400, "malformed_request", "The request is not valid HTTP.")

    def __init__(self, fault: str) -> None:
        super().__init__(
            text=problem_body(self.problem).decode(),
            content_type=PROBLEM_TYPE,
            headers={"Server": SERVER, **SECURITY_HEADERS},
        )
        self.fault = fault
        self.force_close()


class UriTooLong(MalformedRequest):
    """The answer to a path and query that are too long."""

    status_code = 414
    problem = Problem(
        414, "uri_too_long", f"Path and query may have {MAX_URI_BYTES} bytes at most."
    )


class HeadersTooLarge(MalformedRequest):
    """The answer to a header field that is too long, or to too many (RFC 6585, section 5)."""

    status_code = 431
    problem = Problem(
        431,
        "headers_too_large",
        f"A header field may have {MAX_FIELD_BYTES} bytes at most, and a request 128 of them.",
    )


def refusal_of(error: HttpProcessingError) -> MalformedRequest:
    """Return the answer to a request that aiohttp can't parse."""
    fault = type(error).__name__
    if isinstance(error, LineTooLong):
        # Its arguments are the beginning of the line and the limit.
        return UriTooLong(fault) if error.args[1] == MAX_URI_BYTES else HeadersTooLarge(fault)
    if error.message == _TOO_MANY_FIELDS:
        return HeadersTooLarge(fault)
    return MalformedRequest(fault)


class AccessLogger(AbstractAccessLogger):
    """Writes method, path without query, status, duration and address of each request."""

    answers: ClassVar[Answers]

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Count the answer and log one line, but none for the socket's path: it has its own."""
        route = _route(request, response)
        self.answers.add(route, response.status, time if route != SOCKET else None)
        if isinstance(response, MalformedRequest):
            self._malformed(request, response)
        elif request.path != SOCKET:
            self._request(request, response, time)

    def _malformed(self, request: web.BaseRequest, response: MalformedRequest) -> None:
        self.logger.warning(
            "malformed request",
            extra=fields(fault=response.fault, status=response.status, address=request.remote),
        )

    def _request(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        level = logging.DEBUG if request.path in PROBES else logging.INFO
        if not self.logger.isEnabledFor(level):
            return
        seen = fields(
            method=clean(request.method, _MAX_METHOD),
            # Still percent-encoded, and without the query, which may hold a token by mistake.
            path=masked(request.rel_url.raw_path, _MAX_PATH),
            status=response.status,
            ms=round(time * 1000, 1),
            address=_address(request),
        )
        if not _is_trusted(request, response):
            seen |= at_most(_network(request), REQUEST_LINES)
        self.logger.log(level, "request", extra=seen)


class ServerLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes what aiohttp logs about a connection, and leaves out what the peer has sent.

    aiohttp answers a request that it can't parse with the peer's own bytes and logs them with a
    traceback. The one public way to prevent that is its logger, which it calls while it handles
    the error and before it builds that answer: an HTTPException that the logger raises becomes the
    answer, and the access logger writes its line.
    """

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Raise MalformedRequest for a parser's error; log a broken body in one short line.

        A peer that left is nothing to log.
        """
        error = _error(kwargs.get("exc_info"))
        if isinstance(error, HttpProcessingError):
            raise refusal_of(error)
        if isinstance(error, web.RequestPayloadError):
            self.warning("malformed request", extra=fields(fault="body"))
        elif isinstance(error, RuntimeError) and CLOSED_HANDLE in str(error):
            # The peer left before its answer: aiohttp itself is silent where it sees that.
            super().debug(msg, *args, **kwargs)
        else:
            super().exception(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Raise MalformedRequest: aiohttp reports other protocols on our port at this level."""
        error = _error(kwargs.get("exc_info"))
        if isinstance(error, HttpProcessingError):
            raise refusal_of(error)
        super().debug(msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Leave the call as it is: there is no context to add."""
        return msg, kwargs


def _route(request: web.BaseRequest, response: web.StreamResponse) -> str:
    """Return the pattern of the route, of which nothing comes from the peer."""
    if isinstance(response, MalformedRequest) or not isinstance(request, web.Request):
        return UNREADABLE
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else OTHER


def _address(request: web.BaseRequest) -> str | None:
    return request_peer(request).address if isinstance(request, web.Request) else request.remote


def _network(request: web.BaseRequest) -> str | None:
    return (
        request_peer(request).networks[-1] if isinstance(request, web.Request) else request.remote
    )


def _is_trusted(request: web.BaseRequest, response: web.StreamResponse) -> bool:
    """Tell whether the backend or an administrator asks: all that these do is logged."""
    route = request.get(ROUTE)
    if route is None or response.status in (401, 403):
        return False
    return route.handler.rule.credential in ("key", "admin")


def _error(exc_info: _ExcInfo) -> BaseException | None:
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None
