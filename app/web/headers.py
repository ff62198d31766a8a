"""Headers that every answer carries."""

from aiohttp import hdrs, web

from app.web.paths import is_api

SERVER = "Switchboard"

SECURITY_HEADERS: dict[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

APP_HEADERS: dict[str, str] = {
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
"""What the web app's page carries besides: its own scripts run, and nothing else does."""


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """`response` carries the headers that keep a browser from misusing it; own ones win."""
    headers = response.headers
    # aiohttp names its own version and Python's here.
    headers[hdrs.SERVER] = SERVER
    if response.status == 101:
        return
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if is_api(request.path):
        headers[hdrs.CACHE_CONTROL] = "no-store"
