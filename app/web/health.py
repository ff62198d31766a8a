"""What probes and monitoring ask: is it alive, does it take new work, what does it count."""

import hmac

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.base.errors import Problem
from app.keys import METRICS, READINESS, SETTINGS
from app.requests.peer import direct_peer, request_peer
from app.web.answers import json_response

_FORWARDING = (hdrs.FORWARDED, hdrs.X_FORWARDED_FOR)


async def health(request: web.Request) -> web.Response:
    """200 as long as the process serves, also while it stops."""
    return json_response({"status": "ok"})


async def ready(request: web.Request) -> web.Response:
    """200, or 503 while the server stops: send new clients elsewhere."""
    refuse_while_draining(request)
    return json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    """The counts in the format of Prometheus, for this machine or with the token."""
    if not (_is_local(request) or _has_token(request)):
        raise Problem(403, "forbidden", "Metrics need the metrics token, or this very machine.")
    return web.Response(
        body=generate_latest(request.app[METRICS].registry),
        headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST},
    )


def refuse_while_draining(request: web.Request) -> None:
    """Raises Problem(503, "draining") once the server has been told to stop."""
    if request.app[READINESS].draining:
        raise Problem(
            503,
            "draining",
            "The server is stopping.",
            retry_after=request.app[SETTINGS].retry_after_seconds,
        )


def _is_local(request: web.Request) -> bool:
    peer = request_peer(request)
    # A proxy on this machine that is not among the trusted ones makes everybody look local.
    unbelieved = peer.address == direct_peer(request).address
    forwarded = any(name in request.headers for name in _FORWARDING)
    return peer.is_loopback and not (unbelieved and forwarded)


def _has_token(request: web.Request) -> bool:
    token = request.app[SETTINGS].metrics_token
    scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.get_secret_value().encode()
    )
