"""One log line for each request, and none of a stranger's bytes in it or in a 400."""

import logging
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from app.base.errors import Problem
from app.base.logs import clean, fields
from app.requests.peer import request_peer
from app.settings import Settings
from app.web.headers import SECURITY_HEADERS, SERVER
from app.web.paths import HEALTH, METRICS, READY, SOCKET
from app.web.problems import PROBLEM_TYPE, problem_body

# nginx closes an idle connection to us after 60 s by default: ours has to last longer, else the
# proxy sends a request into a connection that is just being closed.
KEEPALIVE_SECONDS = 75

# How long the rest of a body is read after its answer, so that the client gets to read that.
LINGERING_SECONDS = 2

_MAX_METHOD = 20
_MAX_PATH = 200
_PROBES = frozenset({HEALTH, READY, METRICS})

access_log = logging.getLogger(__name__)
server_log = logging.getLogger("app.web.server")

_ExcInfo = (
    BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | bool | None
)


def handler_args(settings: Settings) -> dict[str, Any]:
    """Return `handler_args` for `web.Application`: how every connection is parsed and logged."""
    return {
        "access_log_class": AccessLogger,
        "access_log": access_log,
        "logger": ServerLogger(server_log, {}),
        "keepalive_timeout": KEEPALIVE_SECONDS,
        "lingering_time": LINGERING_SECONDS,
        # aiohttp's default, but not that of its test server: who hangs up cancels no write.
        "handler_cancellation": False,
        # Bodies are small; a compressed one is refused instead of unpacked.
        "auto_decompress": False,
    }


class MalformedRequest(web.HTTPBadRequest):
    """The 400 to what is not HTTP; `fault` names the kind of mistake."""

    def __init__(self, fault: str) -> None:
        problem = Problem(400, "malformed_request", "The request is not valid HTTP.")
        super().__init__(
            text=problem_body(problem).decode(),
            content_type=PROBLEM_TYPE,
            headers={"Server": SERVER, **SECURITY_HEADERS},
        )
        self.fault = fault
        self.force_close()


class AccessLogger(AbstractAccessLogger):
    """Writes method, path without query, status, duration and address of each request."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """One line is logged; the socket's path, refusals too, has lines of its own."""
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
        level = logging.DEBUG if request.path in _PROBES else logging.INFO
        if not self.logger.isEnabledFor(level):
            return
        seen = fields(
            method=clean(request.method, _MAX_METHOD),
            # Still percent-encoded, and without the query, where tokens get by mistake.
            path=clean(request.rel_url.raw_path, _MAX_PATH),
            status=response.status,
            ms=round(time * 1000, 1),
            address=_address(request),
        )
        self.logger.log(level, "request", extra=seen)


class ServerLogger(logging.LoggerAdapter[logging.Logger]):
    """What aiohttp logs about a connection, without what the peer has sent.

    aiohttp answers a request that it can't parse with the peer's own bytes and logs them with a
    traceback; the one public way in between is the call of its logger, made while it handles the
    error and before it builds that answer. An HTTPException raised there becomes the answer, and
    its line is the access logger's.
    """

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Raises MalformedRequest for a parser's error; a broken body costs one short line."""
        error = _error(kwargs.get("exc_info"))
        if isinstance(error, HttpProcessingError):
            raise MalformedRequest(type(error).__name__)
        if isinstance(error, web.RequestPayloadError):
            self.warning("malformed request", extra=fields(fault="body"))
        else:
            super().exception(msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Raises MalformedRequest: aiohttp reports other protocols on our port at this level."""
        error = _error(kwargs.get("exc_info"))
        if isinstance(error, HttpProcessingError):
            raise MalformedRequest(type(error).__name__)
        super().debug(msg, *args, **kwargs)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Leaves the call as it is: there is no context to add."""
        return msg, kwargs


def _address(request: web.BaseRequest) -> str | None:
    return request_peer(request).address if isinstance(request, web.Request) else request.remote


def _error(exc_info: _ExcInfo) -> BaseException | None:
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None
