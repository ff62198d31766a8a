"""The composition root: everything is built here, in order.

Each resource has one owner, a cleanup context, so that what was opened last closes first.
"""

import asyncio
import time
from functools import partial
from typing import Final

from aiohttp import web

from app.application.delivery import run_door, run_node
from app.application.people import run_accounts, run_flushing, run_publishing
from app.application.storage import hold_folder, run_clock, run_database, run_streams
from app.auth.sessions import DAY_SECONDS
from app.base.accepting import FAILURES
from app.base.clock import TRUST, Trust
from app.base.descriptors import UNLIMITED, fit
from app.base.metrics import Metrics
from app.keys import (
    ADMISSION,
    ANSWERING_PROBLEMS,
    COOKIES,
    EXPORTS,
    FAILED,
    MANAGER,
    METRICS,
    NODE,
    READINESS,
    SETTINGS,
    SOCKETS,
    Readiness,
)
from app.node.admission import Admission, AdmissionLimits
from app.node.registry import ConnectionManager
from app.node.sockets import SocketLimits, Sockets
from app.requests.cookies import cookie_storage, load_fernet_keys
from app.requests.peer import request_peer
from app.settings import Settings
from app.storage.exposure import refuse_exposed
from app.web import access
from app.web.auth import SIGN_IN_FAILURES
from app.web.documentation import DOCUMENTATION, Documentation
from app.web.health import show_readiness_on
from app.web.middlewares import middlewares
from app.web.pages import PAGES, Pages
from app.web.problems import answer_expectation, answer_problems
from app.web.routes import ROUTES as HTTP_ROUTES
from app.web.routes import add_routes
from app.websocket.handler import ROUTES as SOCKET_ROUTES

ROUTES: Final = (*HTTP_ROUTES, *SOCKET_ROUTES)
"""The tables of all rooms; the documentation is made from them."""


def build_application(
    settings: Settings,
    trust: Trust = TRUST,
    *,
    new_database: bool = False,
    max_sockets: int | None = None,
) -> web.Application:
    """Return the whole server as one application; its resources open when it starts.

    It takes `max_sockets`, whatever is asked on them; None leaves the usual number beside the
    connections. With `new_database` it takes the place of a lost database with an empty one. Raises
    SettingsError when a key, a feature, the web app or the data folder cannot be used; starting it
    raises DataDirBusy when another process holds the data folder, and DatabaseLost.
    """
    refuse_exposed(settings.data_dir)
    cookies = cookie_storage(
        load_fernet_keys(settings, settings.data_dir),
        _is_secure,
        int(settings.session_max_days * DAY_SECONDS),
        takes_jwts=settings.jwt_algorithm is not None,
    )
    # No middleware of the application: a WebSocket would hold each one's frame for its whole life.
    metrics = Metrics()
    app = web.Application(handler_args=access.handler_args(settings, metrics.answers))
    app[SETTINGS] = settings
    app[METRICS] = metrics
    _name_labels(metrics)
    show_readiness_on(metrics, app)
    app[READINESS] = Readiness()
    app[FAILED] = asyncio.Event()
    app[EXPORTS] = asyncio.Semaphore(1)
    app[ADMISSION] = Admission(
        AdmissionLimits(
            connections=settings.max_connections,
            per_address=settings.max_connections_per_address,
            handshakes=settings.max_handshakes,
            retry_after=settings.retry_after_seconds,
        )
    )
    app[ADMISSION].show_on(metrics)
    app[SOCKETS] = _sockets(settings, metrics, max_sockets)
    app[MANAGER] = ConnectionManager(
        per_device=settings.max_connections_per_device, per_user=settings.max_connections_per_user
    )
    for route in SOCKET_ROUTES:
        # Every method comes here, so that what is no upgrade is told so.
        app.router.add_route("*", route.path, route.handler.run, expect_handler=answer_expectation)
    app[COOKIES] = cookies
    app[ANSWERING_PROBLEMS] = answer_problems
    app[PAGES] = Pages.load(settings.web_app)
    app[DOCUMENTATION] = Documentation(ROUTES)
    add_routes(app, HTTP_ROUTES, middlewares(settings, cookies))
    app.cleanup_ctx.extend(
        [
            hold_folder,
            partial(run_database, new=new_database),
            partial(run_clock, trust),
            run_streams,
            run_node,
            run_accounts,
            run_publishing,
            run_door,
            run_flushing,
        ]
    )
    app.on_shutdown.append(_close_sockets)
    return app


def _sockets(settings: Settings, metrics: Metrics, most: int | None) -> Sockets:
    limits = SocketLimits(
        total=fit(settings.max_connections, UNLIMITED).sockets if most is None else most,
        per_network=settings.max_connections_per_address,
        header_seconds=settings.header_seconds,
        keepalive_seconds=settings.keepalive_seconds,
    )
    sockets = Sockets(limits, metrics.sockets_closed, time.monotonic)
    sockets.show_on(metrics)
    return sockets


def _is_secure(request: web.Request) -> bool:
    return request_peer(request).scheme == "https"


async def _close_sockets(app: web.Application) -> None:
    """Close the sockets that are left. aiohttp no longer reads, so no answer of theirs is seen."""
    app[READINESS].draining = True
    await app[NODE].close_all(app[SETTINGS].close_seconds)


def _name_labels(metrics: Metrics) -> None:
    """Have the metrics show from the start what routes may answer, sign in and refuse."""
    families = {route.path: route.tag.lower() for route in HTTP_ROUTES}
    sockets = {route.path: "websocket" for route in SOCKET_ROUTES}
    metrics.answers.know(families | sockets)
    metrics.know("sign_ins_failed", SIGN_IN_FAILURES)
    metrics.know("accept_failures", FAILURES)
    refusals = [
        problem.partition(" ")[2]
        for route in SOCKET_ROUTES
        for problem in (*route.handler.rule.refusals, *route.problems)
    ]
    metrics.know("connections_refused", tuple(dict.fromkeys(refusals)))
