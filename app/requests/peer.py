"""Who is at the other end of a request, and whether the page behind it is one of ours."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from app.auth.peer import (
    OriginVerdict,
    Peer,
    is_allowed,
    is_this_machine,
    origin_verdict,
    resolve_peer,
)
from app.base.options import Network
from app.keys import SETTINGS

PEER = web.RequestKey("peer", Peer)

# A browser sets this header itself; no script can.
SEC_FETCH_SITE = "Sec-Fetch-Site"


def request_peer(request: web.Request) -> Peer:
    """Return the client as seen through the trusted proxies, resolved once for each request."""
    peer = request.get(PEER)
    if peer is None:
        trusted = request.config_dict[SETTINGS].trusted_proxies
        peer = request[PEER] = peer_of(request, trusted)
    return peer


def is_local(request: web.BaseRequest) -> bool:
    """Tell whether a program of this machine asks for itself, whatever a header says."""
    return is_this_machine(request.remote, request.headers)


def peer_of(request: web.BaseRequest, trusted_proxies: Sequence[Network]) -> Peer:
    """Return the client as seen through the trusted proxies, resolved anew for each call."""
    return resolve_peer(
        # Unlike the transport's, this address is known when the client has left already.
        request.remote,
        request.headers,
        # Not `request.scheme`: the request would keep it, that of a socket for its whole life.
        "http" if request.get_extra_info("sslcontext") is None else "https",
        request.headers.get(hdrs.HOST, ""),
        trusted_proxies,
    )


def origin_header(request: web.BaseRequest) -> str | None:
    """Return the request's Origin header; several, which no browser sends, are no valid one."""
    lines = request.headers.getall(hdrs.ORIGIN, ())
    return ", ".join(lines) if lines else None


def request_origin(request: web.Request) -> OriginVerdict:
    """Return what the Origin header of the request means."""
    return origin_verdict(
        origin_header(request),
        request_peer(request),
        request.config_dict[SETTINGS].allowed_origins,
    )


def has_allowed_origin(request: web.Request) -> bool:
    """Tell whether the page behind the request is of an origin on the allow-list."""
    return is_allowed(origin_header(request) or "", request.config_dict[SETTINGS].allowed_origins)
