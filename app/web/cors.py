"""CORS for the origins on the allow-list: their pages use bearer tokens, never cookies."""

from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from app.base.errors import Problem
from app.keys import SETTINGS
from app.web.paths import is_api

METHODS = "GET, POST, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key"
RESPONSE_HEADERS = "Retry-After"
# Chromium keeps the answer to a preflight for two hours at most; a changed allow-list should not
# take that long to be felt.
MAX_AGE_SECONDS = 600


def preflight(allowed: tuple[str, ...]) -> Middleware:
    """Return a middleware that answers preflights of `/v1/*` itself: 204, or 403 if not allowed."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_preflight(request):
            return await handler(request)
        if request.headers.get(hdrs.ORIGIN, "").lower() not in allowed:
            raise Problem(403, "forbidden_origin", "This origin is not on the allow-list.")
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: REQUEST_HEADERS,
                hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_SECONDS),
            },
        )

    return middleware


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """`response` may be read by a page of an allow-listed origin, whatever its status."""
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return
    allowed = request.config_dict[SETTINGS].allowed_origins
    if not allowed or not is_api(request.path):
        return
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    origin = request.headers.get(hdrs.ORIGIN, "")
    if origin.lower() in allowed:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = RESPONSE_HEADERS


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        and is_api(request.path)
    )
