"""Who is at the other end of a request, and whether the page behind it is one of ours."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from app.auth.peer import OriginVerdict, Peer, origin_verdict, resolve_peer
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


def direct_peer(request: web.BaseRequest) -> Peer:
    """Return what is at the other end of the TCP connection: a proxy, perhaps."""
    return peer_of(request, ())


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


def request_origin(request: web.Request) -> OriginVerdict:
    """Return what the Origin header of the request means."""
    return origin_verdict(
        request.headers.get(hdrs.ORIGIN),
        request_peer(request).host,
        request.config_dict[SETTINGS].allowed_origins,
    )
