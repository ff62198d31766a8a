"""An absolute deadline for one request, its body included."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from app.base.errors import Problem
from app.web.paths import SOCKET


def deadline(seconds: float) -> Middleware:
    """Return a middleware that ends a request after `seconds` with 408; a WebSocket may stay.

    A body that dribbles in, byte by byte, would otherwise hold its handler for ever.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == SOCKET:
            return await handler(request)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await handler(request)
        except TimeoutError:
            if limit.expired():
                raise Problem(408, "request_timeout", "The request took too long.") from None
            raise

    return middleware
