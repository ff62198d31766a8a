"""What probes and monitoring ask: is it alive, does it take new work, what does it count."""

import hmac
from typing import Final, Literal

from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.auth.peer import Peer
from app.base.errors import Problem, StorageUnavailable
from app.base.metrics import Metrics
from app.keys import DATABASE, METRICS, READINESS, SETTINGS, STREAMS
from app.requests.peer import is_local, request_peer
from app.requests.route import Route
from app.requests.rules import OPEN, AccessRule
from app.web.bodies import Answer, json_response


class StatusAnswer(Answer):
    """How the server is."""

    status: Literal["ok", "ready"]


async def health(request: web.Request, peer: Peer) -> web.Response:
    """Answer 200 as long as the process serves, also while it stops."""
    return json_response({"status": "ok"})


async def ready(request: web.Request, peer: Peer) -> web.Response:
    """Answer 200, or 503 while the server stops, or its database is gone, damaged or read-only."""
    refuse_unless_ready(request.app)
    return json_response({"status": "ready"})


def refuse_unless_ready(app: web.Application) -> None:
    """Raise Problem 503 `draining` or `storage_unavailable` unless the server takes new work."""
    _refuse_draining(app)
    database = app[DATABASE]
    if (fault := database.fault) is not None:
        raise StorageUnavailable(fault)
    if (reason := database.faults.current) is not None:
        raise StorageUnavailable(f"Nothing can be stored: {reason}.")
    app[STREAMS].suspicions.refuse()


def show_readiness_on(metrics: Metrics, app: web.Application) -> None:
    """Show whether `/ready` answers 200."""

    def is_ready() -> bool:
        try:
            refuse_unless_ready(app)
        except Problem:
            return False
        return True

    metrics.watch("ready", "1 if the server takes new work, as /ready says; else 0.", is_ready)


async def metrics(request: web.Request, peer: Peer) -> web.Response:
    """Answer with the counts in the format of Prometheus."""
    return web.Response(
        body=generate_latest(request.app[METRICS].registry),
        headers={hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST},
    )


def refuse_while_draining(request: web.Request) -> None:
    """Raise Problem 503 `draining` once the server has been told to stop."""
    _refuse_draining(request.app)


def _refuse_draining(app: web.Application) -> None:
    if app[READINESS].draining:
        raise Problem(
            503,
            "draining",
            "The server is stopping.",
            retry_after=app[SETTINGS].retry_after_seconds,
        )


async def _local_or_with_token(request: web.Request) -> Peer:
    """Return who reads the metrics; raises Problem 403 `forbidden`."""
    peer = request_peer(request)
    if not (is_local(request) or _has_token(request)):
        raise Problem(
            403,
            "forbidden",
            "Metrics need the metrics token, or a request of this very machine through no proxy.",
        )
    return peer


def _has_token(request: web.Request) -> bool:
    token = request.app[SETTINGS].metrics_token
    if token is None:
        return False
    secret = token.get_secret_value().encode()
    # Another line may be a proxy's.
    return any(
        scheme.lower() == "bearer"
        and hmac.compare_digest(given.strip().encode(errors="surrogateescape"), secret)
        for scheme, _, given in (
            line.partition(" ") for line in request.headers.getall(hdrs.AUTHORIZATION, ())
        )
    )


_METRICS_READER: Final = AccessRule("metrics", _local_or_with_token, ("403 forbidden",))

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/health",
        handler=OPEN.before(health),
        tag="Server",
        summary="Is it alive",
        answer=StatusAnswer,
    ),
    Route(
        method="GET",
        path="/ready",
        handler=OPEN.before(ready),
        tag="Server",
        summary="Does it take new work",
        answer=StatusAnswer,
        problems=("503 draining", "503 storage_unavailable"),
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=_METRICS_READER.before(metrics),
        tag="Server",
        summary="Counts for Prometheus",
        what="Open to this very machine, but through no proxy; for others with the metrics token.",
        media="text/plain",
    ),
)

PROBES: Final = frozenset(route.path for route in ROUTES)
"""Paths that monitoring asks for every few seconds."""
