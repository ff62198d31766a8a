"""Who is at the other end of a request, and whether the page behind it is one of ours."""

from aiohttp import hdrs, web

from app.auth import resolve
from app.auth.origin import OriginVerdict, origin_verdict
from app.auth.peer import Peer
from app.keys import SETTINGS

# A browser sets this header itself; no script can.
SEC_FETCH_SITE = "Sec-Fetch-Site"


def request_peer(request: web.Request) -> Peer:
    """Return the client as seen through the trusted proxies; worked out once per request."""
    return resolve.request_peer(request, request.config_dict[SETTINGS].trusted_proxies)


def request_origin(request: web.Request) -> OriginVerdict:
    """Return what the Origin header of the request means."""
    return origin_verdict(
        request.headers.get(hdrs.ORIGIN),
        request_peer(request).host,
        request.config_dict[SETTINGS].allowed_origins,
    )
