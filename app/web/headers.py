"""Headers that every answer carries."""

from aiohttp import hdrs, web

from app.web.paths import is_api

SERVER = "Switchboard"

SECURITY_HEADERS: dict[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


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
