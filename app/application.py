"""The composition root: everything is built here, in order.

Each resource has one owner, a cleanup context, so that what was opened last closes first.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from sqlalchemy.exc import SQLAlchemyError

from app.auth.accounts import Accounts
from app.auth.addressees import Addressees
from app.auth.api_keys import ApiKeys
from app.auth.cleaner import Cleaner
from app.auth.jwt import JwtVerifier
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import DAY_SECONDS, Sessions
from app.base.accepting import FAILURES
from app.base.clock import LOOK_SECONDS, TRUST, WALL, Trust, TrustedClock, Verdict
from app.base.descriptors import UNLIMITED, fit
from app.base.errors import DatabaseLost, SettingsError, StorageUnavailable
from app.base.logs import fields
from app.base.metrics import Metrics
from app.features.accepted import AcceptedFeature
from app.features.ack import AckFeature
from app.features.device import DeviceFeature, SendLimits
from app.features.dispatch import Dispatcher
from app.features.door import Door
from app.features.feature import Feature, handlers, load_features
from app.features.lines import LineLimits, Lines
from app.features.presence import PresenceFeature
from app.features.token import TokenFeature
from app.keys import (
    ACCOUNTS,
    ADMISSION,
    ANSWERING_PROBLEMS,
    API_KEYS,
    CLOCK,
    COOKIES,
    DATABASE,
    DOOR,
    EXPORTS,
    FAILED,
    LAST_WRITES,
    MANAGER,
    METRICS,
    NODE,
    PUBLISHER,
    READINESS,
    RECEIPTS,
    SESSIONS,
    SETTINGS,
    SOCKETS,
    STARTED_AT,
    STREAMS,
    Readiness,
)
from app.node.admission import Admission, AdmissionLimits
from app.node.allowance import Pace, UserLimits
from app.node.deadlines import TimeLimits
from app.node.inflow import RateLimit
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.node.sockets import SocketLimits, Sockets
from app.protocol.frames import wire_size
from app.protocol.messages import RESERVED_PREFIXES, SERVER_PREFIXES
from app.publishing.publisher import Publisher
from app.publishing.receipts import Receipts
from app.requests.cookies import cookie_storage, load_fernet_keys
from app.requests.peer import request_peer
from app.settings import Settings
from app.storage.database import Database
from app.storage.exposure import find_exposures, refuse_exposed
from app.storage.last_writes import LastWrites
from app.storage.lock import DataDirLock
from app.storage.schema import milliseconds
from app.storage.trusted_time import keep_trusted_time, last_trusted_time
from app.streams.audit import Audit
from app.streams.generation import GUARD_NAME
from app.streams.maintenance import Maintenance
from app.streams.opening import has_database, open_database, set_aside
from app.streams.sql import SqlStreamLog, StreamLimits
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

FLUSH_SECONDS: Final = 30
"""How often last-seen times are written; a crash loses no more than this of them."""

log = logging.getLogger(__name__)


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
            _lock,
            partial(_database, new=new_database),
            partial(_clock, trust),
            _streams,
            _node,
            _accounts,
            _publishing,
            _door,
            _flushing,
        ]
    )
    app.on_shutdown.append(_close_sockets)
    return app


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


async def _lock(app: web.Application) -> AsyncIterator[None]:
    data_dir = app[SETTINGS].data_dir
    with DataDirLock(data_dir):
        _warn_of_others(data_dir)
        yield


def _warn_of_others(data_dir: Path) -> None:
    """Log what others may do with the folder, in one line: of several, one a second is written."""
    found = [one for one in find_exposures(data_dir) if one.severity == "warned"]
    if found:
        reason = "; ".join(f"{one.path}: {one.fault}" for one in found)
        do = "; ".join(dict.fromkeys(f"{one.do}: {one.path}" for one in found))
        log.warning("others may use the data folder", extra=fields(reason=reason, do=do))


async def _database(app: web.Application, *, new: bool) -> AsyncIterator[None]:
    data_dir = app[SETTINGS].data_dir
    opening = _open_new(data_dir) if new else open_database(data_dir)
    database = app[DATABASE] = await opening
    app[LAST_WRITES] = LastWrites(database.faults)
    database.show_on(app[METRICS])
    # Later there may be no descriptor for one more connection.
    await database.open_connections()
    async with (
        _background(app, database.watch(), "watch"),
        _background(app, database.run_checkpoints(), "checkpoints"),
    ):
        yield
    await database.close()
    app[LAST_WRITES].tell()


async def _open_new(data_dir: Path) -> Database:
    """Return an empty database in the place of one that is lost."""
    if not has_database(data_dir):
        aside = set_aside(data_dir)
    else:
        try:
            database = await open_database(data_dir)
        except DatabaseLost:
            aside = set_aside(data_dir)
        else:
            await database.close()
            raise SettingsError(
                [
                    f"There is a database in {data_dir}: --new-database is for a folder that has "
                    "lost its own. Leave it out, or move that database away."
                ]
            )
    log.warning("new database", extra=fields(former=str(aside) if aside else None))
    return await open_database(data_dir)


async def _clock(trust: Trust, app: web.Application) -> AsyncIterator[None]:
    database = app[DATABASE]
    now = milliseconds(WALL.stamp())
    last = await database.transact(partial(last_trusted_time, now=now))
    clock = app[CLOCK] = TrustedClock(last / 1000 if last is not None else None, trust=trust)
    app[STARTED_AT] = milliseconds(clock.stamp())
    # Now too: a start after a kill must not go by what a wrong clock has stamped meanwhile.
    await _if_the_disk_takes_it(_keep_time(app))
    yield
    await app[LAST_WRITES].attempt("trusted time", _keep_time(app))


async def _keep_time(app: web.Application) -> None:
    now = milliseconds(app[CLOCK].trusted())
    await app[DATABASE].transact(partial(keep_trusted_time, at=now))


async def _streams(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    limits = StreamLimits(
        settings.retention_days,
        settings.retention_rows,
        settings.max_keys_per_user,
        ids_per_user=settings.message_ids_per_user,
        ids_per_key=settings.message_ids_per_key,
    )
    guard = settings.data_dir / GUARD_NAME
    streams = app[STREAMS] = await SqlStreamLog.open(app[DATABASE], guard, limits, app[CLOCK])
    yield
    await app[LAST_WRITES].attempt("the mark of a clean stop", streams.stop())
    await streams.close()


async def _node(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    node = app[NODE] = Node(
        app[MANAGER],
        app[STREAMS],
        app[METRICS],
        NodeLimits(
            time=TimeLimits(
                heartbeat=settings.heartbeat_seconds,
                stall=settings.stall_seconds,
                message=settings.message_seconds,
            ),
            outbox=OutboxLimits(frames=settings.max_outbox_frames, bytes=settings.max_outbox_bytes),
            message_bytes=settings.max_message_bytes,
            unfinished_bytes=_unfinished_bytes(settings),
            reconnect_window=settings.reconnect_window_seconds,
            user=_user_limits(settings),
        ),
        calendar=app[CLOCK],
    )
    node.watch()
    removals = app[METRICS].removals
    maintenance = Maintenance(node.log, node.delivery.standings, removals=removals)
    audit = Audit(app[STREAMS], app[DATABASE], app[METRICS], node.delivery.lost)
    await audit.begin()
    async with (
        _background(app, node.run(), "node"),
        _background(app, node.committer.run(), "committer"),
        _background(app, maintenance.run(), "keeper"),
        _background(app, audit.run(), "audit"),
    ):
        yield
        audit.stop()
    # Nobody sends any more; what was taken still has its answer, and is on disk.
    await node.committer.drain()
    await node.delivery.close()
    await app[LAST_WRITES].attempt("cursors", maintenance.close())


async def _accounts(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    clock = app[CLOCK]
    sessions = Sessions(app[DATABASE], settings, JwtVerifier.from_settings(settings, clock), clock)
    sessions.on_ended = app[NODE].end
    sessions.session_limit.connected = partial(_connected_sessions, app[MANAGER])
    sessions.enrolment.connected = app[MANAGER].get_connected_devices
    sessions.enrolment.new_devices.on_refused = partial(
        app[NODE].allowances.limited.note, limit="devices"
    )
    removals = app[METRICS].removals
    cleaner = Cleaner(app[DATABASE], settings, sessions, clock, removals=removals)
    cleaner.show_on(app[METRICS])
    sessions.on_left_over = cleaner.wake
    passwords = Passwords(settings.password_workers, settings.password_queue)
    limiter = FailureLimiter(settings.login_attempts, settings.login_window_seconds)
    app[SESSIONS] = sessions
    app[ACCOUNTS] = Accounts(app[DATABASE], settings, sessions, passwords, limiter, clock)
    async with _background(app, cleaner.run(), "cleaner"):
        yield
    await app[LAST_WRITES].attempt("last-seen times", sessions.close())
    passwords.close()


def _connected_sessions(manager: ConnectionManager, user_id: int) -> set[int]:
    return {one.session_id for one in manager.of_user(user_id) if one.session_id is not None}


async def _publishing(app: web.Application) -> AsyncIterator[None]:
    keys = app[API_KEYS] = ApiKeys(app[DATABASE], app[CLOCK])
    issuer = app[SETTINGS].jwt_issuer
    addressees = Addressees(app[DATABASE], app[SESSIONS].owners, issuer, app[CLOCK])
    receipts = app[RECEIPTS] = Receipts(app[NODE], app[DATABASE])
    app[PUBLISHER] = Publisher(app[NODE], addressees, app[SETTINGS].max_message_bytes)
    yield
    await receipts.close()
    await addressees.close()
    await app[LAST_WRITES].attempt("last uses of API keys", keys.close())


async def _door(app: web.Application) -> AsyncIterator[None]:
    settings, node = app[SETTINGS], app[NODE]
    own = load_features(settings.features, node)
    taken = {feature.prefix for feature in own}
    # Prefixes of features that are not part of this server yet: clients speak some of them.
    accepted = [AcceptedFeature(prefix) for prefix in RESERVED_PREFIXES - taken]
    owned = frozenset({*taken, *SERVER_PREFIXES, *RESERVED_PREFIXES})
    limits = SendLimits(
        node.allowances.limited,
        settings.durable_prefixes,
        Pace(settings.durable_per_second, settings.durable_burst),
    )
    device = DeviceFeature(node, app[PUBLISHER], owned, limits)
    presence = PresenceFeature(node)
    app[SESSIONS].on_devices_changed = presence.list_changed
    token = TokenFeature(node, app[SESSIONS])
    features: list[Feature] = [device, presence, token, *own, *accepted]
    found = handlers(features)
    ack = AckFeature(node)
    for prefix in found:
        # Known from the start, so that it counts by its name whoever sends the first one.
        app[METRICS].sent.add(prefix, 0)
    received = app[METRICS].received
    dispatcher = Dispatcher({**found, ack.prefix: ack.handle}, received, naming={device.prefix})
    waits = LineLimits(
        handler_seconds=settings.handler_seconds, message_bytes=settings.max_message_bytes
    )
    lines = Lines(dispatcher, app[METRICS], waits, pausing={device.prefix})
    app[DOOR] = Door(node, dispatcher, lines, settings.max_message_bytes, _rate_limit(settings))
    yield
    presence.close()


def _unfinished_bytes(settings: Settings) -> int:
    most = settings.unfinished_bytes_per_user
    # One message that is allowed can always be sent.
    return most and max(most, wire_size(settings.max_message_bytes))


def _rate_limit(settings: Settings) -> RateLimit:
    return RateLimit(
        messages_per_second=settings.messages_per_second,
        messages_burst=settings.messages_burst,
        bytes_per_second=settings.bytes_per_second,
        # Two of the largest messages always fit, whatever the rate.
        bytes_burst=2 * max(settings.bytes_per_second, wire_size(settings.max_message_bytes)),
    )


def _user_limits(settings: Settings) -> UserLimits:
    return UserLimits(
        messages=Pace(settings.user_messages_per_second, settings.user_messages_burst),
        bytes=Pace(
            settings.user_bytes_per_second,
            # Two of the largest messages always fit, whatever the rate.
            max(settings.user_bytes_burst, 2 * settings.max_message_bytes),
        ),
        deliveries=Pace(settings.user_deliveries_per_second, settings.user_deliveries_burst),
        durable=Pace(settings.user_durable_per_second, settings.user_durable_burst),
        upgrades=Pace(settings.user_upgrades_per_second, settings.user_upgrades_burst),
        writes=Pace(settings.user_writes_per_second, settings.user_writes_burst),
    )


async def _flushing(app: web.Application) -> AsyncIterator[None]:
    async with (
        _background(app, _flush_regularly(app), "flush"),
        _background(app, _look_at_the_clock(app), "clock"),
    ):
        yield
    app[SESSIONS].touch_live(_live(app))


async def _flush_regularly(app: web.Application) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        app[SESSIONS].touch_live(_live(app))
        await _if_the_disk_takes_it(app[SESSIONS].flush())
        await _if_the_disk_takes_it(app[API_KEYS].flush())
        await _if_the_disk_takes_it(_keep_time(app))


async def _look_at_the_clock(app: web.Application) -> None:
    verdict: Verdict | None = None
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        verdict = app[CLOCK].look() or verdict
        if verdict is not None:
            try:
                await app[SESSIONS].settle(verdict)
            except (OSError, SQLAlchemyError) as error:
                log.warning("not settled after a jump", extra=fields(reason=type(error).__name__))
            else:
                verdict = None


async def _if_the_disk_takes_it(writing: Awaitable[None]) -> None:
    """Await a write that others repeat; a full disk must not stop the server for it."""
    try:
        await writing
    except (OSError, SQLAlchemyError, StorageUnavailable) as error:
        log.warning("last-seen times not written", extra=fields(reason=type(error).__name__))


def _live(app: web.Application) -> list[tuple[int | None, int | None]]:
    return [(one.session_id, one.device_id) for one in app[MANAGER].connections()]


async def _close_sockets(app: web.Application) -> None:
    """Close the sockets that are left. aiohttp no longer reads, so no answer of theirs is seen."""
    app[READINESS].draining = True
    await app[NODE].close_all(app[SETTINGS].close_seconds)


@asynccontextmanager
async def _background(
    app: web.Application, work: Coroutine[Any, Any, None], name: str
) -> AsyncIterator[None]:
    """Run the work inside the block; log its failure, and stop the server then."""

    def note_death(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.critical("task %s died", name, exc_info=task.exception())
            app[FAILED].set()

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(note_death)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
