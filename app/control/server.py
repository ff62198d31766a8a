"""The server's end of the control socket: the route that runs the commands.

`POST /call` takes the JSON object `{"command", "arguments"}`. It answers `{"result"}`, or `{"code",
"detail"}` with the status of the problem.
"""

import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import cast

import orjson
from aiohttp import web

from app.base.accepting import Acceptor
from app.base.errors import NoServer, Problem, sentence
from app.control.actions.table import action_named
from app.control.address import short_path
from app.control.operations import Operations

# A command is a few short fields and at most one payload.
_MAX_CALL_BYTES = 32 * 1024 * 1024

# Commands that wait to be accepted.
_BACKLOG = 128

# Commands that run when the server stops are writes of a few milliseconds.
_SHUTDOWN_SECONDS = 1.0

_OPERATIONS = web.AppKey("control_operations", Operations)


@asynccontextmanager
async def serve_control(path: Path, operations: Operations) -> AsyncIterator[None]:
    """Answer commands on the socket `path` (mode 0600) inside the block; it is gone afterwards.

    The caller holds the lock of the data folder, so a socket that is there already is a dead
    server's and is replaced. Without unix sockets (Windows) there is none.
    """
    if sys.platform == "win32":
        yield
        return
    runner = web.AppRunner(
        _application(operations), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    server = cast(web.Server, runner.server)
    acceptor: Acceptor | None = None
    try:
        acceptor = Acceptor([_bind(path)], lambda *_: server(), backlog=_BACKLOG)
        acceptor.start()
        yield
    finally:
        if acceptor is not None:
            await acceptor.close()
        await runner.cleanup()
        # On a read-only disk it stays, and the next server replaces it.
        with suppress(OSError):
            _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Whoever may write to the socket is an operator, so it must never exist with a wider mode.
    umask = os.umask(0o177)
    try:
        with short_path(path) as name:
            listener.bind(name)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(umask)
    listener.setblocking(False)
    return listener


def _application(operations: Operations) -> web.Application:
    application = web.Application(client_max_size=_MAX_CALL_BYTES)
    application[_OPERATIONS] = operations
    application.router.add_post("/call", _call)
    return application


async def _call(request: web.Request) -> web.Response:
    try:
        return _answer(HTTPStatus.OK, {"result": await _result(request)})
    except Problem as problem:
        return _answer(problem.status, {"code": problem.code, "detail": sentence(problem.detail)})
    except NoServer as error:
        return _answer(HTTPStatus.CONFLICT, {"code": "no_server", "detail": str(error)})


async def _result(request: web.Request) -> object:
    try:
        call = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise Problem(400, "parse_error", "A call is a JSON object.") from None
    if not isinstance(call, dict) or not isinstance(call.get("command"), str):
        raise Problem(400, "invalid_arguments", "A call has a command and its arguments.")
    action = action_named(call["command"])
    return await action.run_json(request.app[_OPERATIONS], call.get("arguments", {}))


def _answer(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
