"""Headers that every answer carries: those that harden it, and those of CORS."""

from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from app.keys import SETTINGS
from app.requests.peer import has_allowed_origin, request_peer

API: Final = "/v1/"
"""How paths of the versioned interface begin."""

SERVER: Final = "Switchboard"

SECURITY_HEADERS: Final[dict[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

APP_HEADERS: Final[dict[str, str]] = {
    # Vue makes one policy, for markup that the compiler saw; no other script may write markup.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types vue"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""More headers for the web app's page: its own scripts run, and no others."""

RESPONSE_HEADERS: Final = "Retry-After"
"""Headers that a page of another origin may read."""


def is_api(path: str) -> bool:
    """Tell whether the path belongs to the versioned interface."""
    return path.startswith(API)


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that keep a browser from misusing the answer; the answer's own ones win."""
    headers = response.headers
    # aiohttp names its own version and Python's here.
    headers[hdrs.SERVER] = SERVER
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    seconds = request.config_dict[SETTINGS].hsts_seconds
    # Over plain http a browser has to ignore it (RFC 6797, section 8.1).
    if seconds is not None and request_peer(request).scheme == "https":
        headers.setdefault(hdrs.STRICT_TRANSPORT_SECURITY, f"max-age={seconds}")
    if is_api(request.path):
        headers[hdrs.CACHE_CONTROL] = "no-store"


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of an allow-listed origin read the answer, whatever its status.

    Such pages use bearer tokens, never cookies.
    """
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return
    allowed = request.config_dict[SETTINGS].allowed_origins
    if not allowed or not is_api(request.path):
        return
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    if has_allowed_origin(request):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = RESPONSE_HEADERS
