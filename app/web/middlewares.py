"""What stands around every handler but the socket's: answers to problems, a deadline, CORS, CSRF.

The application itself has no middlewares: a WebSocket would hold the frame of each one for its
whole life. So each route is wrapped in them by itself.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from aiohttp_session import AbstractStorage, session_middleware

from app.base.errors import Problem
from app.requests.peer import has_allowed_origin
from app.requests.reading import refuse_other_encodings, with_whole_fields
from app.settings import Settings
from app.web.csrf import refuse_foreign_writes
from app.web.headers import is_api
from app.web.problems import answer_problems

# What a preflight says that pages of allow-listed origins may send.
METHODS: Final = "GET, POST, PATCH, DELETE"
REQUEST_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key"

MAX_AGE_SECONDS: Final = 600
"""How long a browser may keep the answer to a preflight. Chromium keeps none for more than two
hours; a changed allow-list should take effect sooner."""


def middlewares(settings: Settings, cookies: AbstractStorage) -> list[Middleware]:
    """Return the middlewares, the outermost first: it answers what all others raise."""
    return [
        answer_problems,
        read_whole,
        deadline(settings.request_seconds),
        preflight,
        session_middleware(cookies),
        refuse_foreign_writes,
    ]


def chain(middlewares: Sequence[Middleware], handler: Handler) -> Handler:
    """Return the handler inside of the middlewares."""
    for middleware in reversed(middlewares):
        handler = partial(middleware, handler=handler)
    return handler


@web.middleware
async def read_whole(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Have the handler see each header field whole, and no text that is not UTF-8."""
    refuse_other_encodings(request)
    return await handler(with_whole_fields(request))


def deadline(seconds: float) -> Middleware:
    """Return a middleware that ends a request, its body included, with 408 after so many seconds.

    A body that dribbles in byte by byte would otherwise hold its handler for ever.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await handler(request)
        except TimeoutError:
            if limit.expired():
                raise Problem(408, "request_timeout", "The request took too long.") from None
            raise

    return middleware


@web.middleware
async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer preflights of `/v1/*`: 204, or 403 if the page's origin is not allowed."""
    if not _is_preflight(request):
        return await handler(request)
    if not has_allowed_origin(request):
        raise Problem(403, "forbidden_origin", "This origin is not on the allow-list.")
    return web.Response(
        status=204,
        headers={
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_SECONDS),
        },
    )


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and is_api(request.path)
    )
