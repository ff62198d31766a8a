"""The running server: listen, wait for a signal, stop politely."""

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from app.application import build_application
from app.auth.accounts import Accounts
from app.base.clock import TRUST, Trust
from app.base.descriptors import capacity_for
from app.base.errors import SettingsError
from app.base.garbage import short_pauses
from app.base.listening import bind, tune
from app.base.logs import fields
from app.base.systemd import beat, notify, take_listeners, watchdog_seconds
from app.base.version import VERSION
from app.control.address import SOCKET_NAME
from app.control.operations import Operations
from app.control.server import serve_control
from app.keys import (
    ACCOUNTS,
    API_KEYS,
    DATABASE,
    FAILED,
    MANAGER,
    NODE,
    PUBLISHER,
    READINESS,
    SESSIONS,
)
from app.settings import Settings
from app.web.gate import listening

CLEANUP_SECONDS: Final = 1.5
"""The part of `shutdown_seconds` kept for the listener, the last requests and the database."""

KERNEL_PATIENCE: Final = 2
"""The system gives up on a peer after this many `stall_seconds`: we are first, and say why."""

GOODBYE_SECONDS: Final = 0.5
"""Time that peers have to answer their close, even where the settings leave none."""

SWITCH_SECONDS: Final = 30e-6
"""How long a thread waits for the interpreter lock before it asks for it; Python's own is 5 ms.

The database's threads need the lock for moments only, and the disk is idle while one of them waits
for it. The event loop waits as long when such a thread makes objects of rows.
"""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that answers: given to `on_ready`."""

    accounts: Accounts
    url: str


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[Serving], Awaitable[None]],
    new_database: bool = False,
    trust: Trust = TRUST,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit status: 0, or 1 if a task of ours died.

    `on_ready` is awaited once the server answers. SIGHUP reloads the certificate; without TLS it
    stops a server that runs on a terminal, and does nothing otherwise. A second signal to stop
    ends the process at once. With `new_database` an empty database takes the place of a lost one.
    Raises SettingsError when it cannot listen, DataDirBusy when another process holds the data
    folder, and DatabaseLost.
    """
    wanted = "max_connections" in settings.model_fields_set
    capacity = capacity_for(settings.max_connections, wanted=wanted)
    settings = settings.model_copy(update={"max_connections": capacity.connections})
    tls = tls_context(settings)
    app = build_application(
        settings, trust, new_database=new_database, max_sockets=capacity.sockets
    )
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=CLEANUP_SECONDS / 2)
    stop = asyncio.Event()
    with _signals(stop, settings, tls):
        try:
            await runner.setup()
            handed_over = take_listeners()
            listeners = await _listeners(settings, handed_over)
            url = _url(listeners[0], settings, handed_over=bool(handed_over))
            operations = Operations(
                app[ACCOUNTS],
                app[NODE],
                settings,
                url,
                app[PUBLISHER],
                api_keys=app[API_KEYS],
                database=app[DATABASE],
                sessions=app[SESSIONS],
            )
            control = serve_control(settings.data_dir / SOCKET_NAME, operations)
            async with listening(runner, app, listeners, tls) as entrance, control:
                with quick_switches(), short_pauses(lambda: app[MANAGER].connection_count):
                    log.info("serving", extra=fields(url=url, version=VERSION, pid=os.getpid()))
                    await on_ready(Serving(app[ACCOUNTS], url))
                    notify("READY=1", f"STATUS=Serves {url}")
                    async with _signs_of_life():
                        await _first_of(stop, app[FAILED])
                        notify("STOPPING=1", "STATUS=Closes its connections")
                        app[READINESS].draining = True
                        connections = app[MANAGER].connection_count
                        log.info("stopping", extra=fields(connections=connections))
                        if handed_over:
                            # What comes in waits in the listeners for the next process.
                            entrance.accept_no_more()
                            await _close_connections(app, settings, down_seconds=0)
                        else:
                            await _drain(app, settings)
        finally:
            await runner.cleanup()
    log.info("stopped")
    return 1 if app[FAILED].is_set() else 0


@contextmanager
def quick_switches() -> Iterator[None]:
    """Have threads ask for the interpreter lock after `SWITCH_SECONDS`, inside the block."""
    former = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(former)


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until the first of these is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)


async def _listeners(settings: Settings, handed_over: list[socket.socket]) -> list[socket.socket]:
    """Return the sockets to listen on: those that were handed over, if there are any."""
    user_timeout = settings.stall_seconds * KERNEL_PATIENCE
    for one in handed_over:
        tune(one, user_timeout)
    return handed_over or await bind(settings.host, settings.port, user_timeout)


def _url(listener: socket.socket, settings: Settings, *, handed_over: bool) -> str:
    name, port = listener.getsockname()[:2]
    host = name if handed_over else settings.host
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{port}"


@asynccontextmanager
async def _signs_of_life() -> AsyncIterator[None]:
    """Tell the supervisor inside the block that the event loop runs, if it wants to know."""
    seconds = watchdog_seconds()
    beating = asyncio.create_task(beat(seconds)) if seconds is not None else None
    try:
        yield
    finally:
        if beating is not None:
            beating.cancel()
            await asyncio.wait([beating])


async def _drain(app: web.Application, settings: Settings) -> None:
    """Refuse new connections but answer all else for a while, then close every connection."""
    await asyncio.sleep(settings.drain_seconds)
    await _close_connections(app, settings, down_seconds=settings.restart_seconds)


async def _close_connections(
    app: web.Application, settings: Settings, *, down_seconds: float
) -> None:
    left = settings.shutdown_seconds - settings.drain_seconds - CLEANUP_SECONDS
    await app[NODE].close_all(max(GOODBYE_SECONDS, left), down_seconds=down_seconds)


# TLS


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of the certificate; None without one.

    Raises SettingsError when the files cannot be used.
    """
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load_certificate(context, settings)
    return context


def _load_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None or key is None:
        raise SettingsError(["TLS needs a certificate and its key."])
    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise SettingsError([f"The file {path} cannot be read."])
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise SettingsError(
            [f"{certificate} and {key} are no certificate with its key: {reason}."]
        ) from error


def _reload(context: ssl.SSLContext, settings: Settings) -> None:
    """Use the certificate on disk for new connections; a broken one changes nothing."""
    try:
        # Into a context of its own first: a failed load would leave the live one half changed.
        _load_certificate(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), settings)
        _load_certificate(context, settings)
    except SettingsError as error:
        log.error("certificate not reloaded", extra=fields(reason=str(error)))
    else:
        log.info("certificate reloaded")


# The process


@contextmanager
def _signals(stop: asyncio.Event, settings: Settings, tls: ssl.SSLContext | None) -> Iterator[None]:
    """Have signals set `stop`, or reload the certificate, inside the block."""

    def ask(number: int) -> None:
        if stop.is_set():
            log.warning("stopped at once by a second signal")
            logging.shutdown()
            os._exit(128 + number)
        stop.set()

    def hang_up() -> None:
        if tls is not None:
            _reload(tls, settings)
        elif sys.stdin is not None and sys.stdin.isatty():
            ask(signal.SIGHUP)
        else:
            log.info("nothing to reload")

    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        previous = signal.signal(
            signal.SIGINT, lambda number, _frame: loop.call_soon_threadsafe(ask, number)
        )
        yield
        signal.signal(signal.SIGINT, previous)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
