"""The server's end of the control socket: the route that runs the commands.

`POST /call` takes the JSON object `{"command", "arguments"}`. It answers `{"result"}`, or `{"code",
"detail"}` with the status of the problem.

`POST /feed` takes the same of a feed, and answers lines: `{"item"}` for each item, `{"end": true}`
last. An empty line is a sign of life. What goes wrong after the first item is a last line `{"code",
"detail"}`; without a last line the server has stopped.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import orjson
from aiohttp import web

from app.base.accepting import Acceptor
from app.base.errors import NoServer, Problem, sentence
from app.control.actions.table import action_named, feed_named
from app.control.address import short_path
from app.control.operations import Operations

# A command is a few short fields and at most one payload.
_MAX_CALL_BYTES = 32 * 1024 * 1024

# Commands that wait to be accepted.
_BACKLOG = 128

# Commands that run when the server stops are writes of a few milliseconds.
_SHUTDOWN_SECONDS = 1.0

_OPERATIONS = web.AppKey("control_operations", Operations)
_FEEDING: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("control_feeding")
"""The tasks that answer feeds, some of which have no end."""


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
    application[_FEEDING] = set()
    application.router.add_post("/call", _call)
    application.router.add_post("/feed", _feed)
    application.on_shutdown.append(_stop_feeding)
    return application


async def _stop_feeding(application: web.Application) -> None:
    """Cut the feeds off: their callers see that the server stops, and nobody waits for them."""
    for task in application[_FEEDING]:
        task.cancel()


async def _call(request: web.Request) -> web.Response:
    try:
        return _answer(HTTPStatus.OK, {"result": await _result(request)})
    except (Problem, NoServer) as fault:
        return _refusal(fault)


async def _result(request: web.Request) -> object:
    name, arguments = await _asked(request)
    return await action_named(name).run_json(request.app[_OPERATIONS], arguments)


async def _feed(request: web.Request) -> web.StreamResponse:
    task = asyncio.current_task()
    feeding = request.app[_FEEDING]
    if task is not None:
        feeding.add(task)
        task.add_done_callback(feeding.discard)
    try:
        name, arguments = await _asked(request)
        batches = feed_named(name).run_json(request.app[_OPERATIONS], arguments)
        # What is refused is refused with its status, before there is an answer.
        first = await anext(batches, None)
    except (Problem, NoServer) as fault:
        return _refusal(fault)
    async with aclosing(batches):
        return await _feed_lines(request, first, batches)


async def _feed_lines(
    request: web.Request, first: list[Any] | None, batches: AsyncGenerator[list[Any], None]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    try:
        await response.prepare(request)
        await response.write(_lines(first or ()))
        async for batch in batches:
            await response.write(_lines(batch))
        await response.write(b'{"end":true}\n')
    except (Problem, NoServer) as fault:
        await response.write(orjson.dumps(_told(fault)) + b"\n")
    except ConnectionError:
        # The caller has enough.
        return response
    await response.write_eof()
    return response


def _lines(items: Iterable[Any]) -> bytes:
    return b"".join(orjson.dumps({"item": item}) + b"\n" for item in items) or b"\n"


async def _asked(request: web.Request) -> tuple[str, object]:
    """Return the name of the command and its arguments; raises Problem."""
    try:
        call = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise Problem(400, "parse_error", "A call is a JSON object.") from None
    if not isinstance(call, dict) or not isinstance(call.get("command"), str):
        raise Problem(400, "invalid_arguments", "A call has a command and its arguments.")
    return call["command"], call.get("arguments", {})


def _refusal(fault: Problem | NoServer) -> web.Response:
    status = fault.status if isinstance(fault, Problem) else HTTPStatus.CONFLICT
    return _answer(status, _told(fault))


def _told(fault: Problem | NoServer) -> dict[str, str]:
    if isinstance(fault, Problem):
        return {"code": fault.code, "detail": sentence(fault.detail)}
    return {"code": "no_server", "detail": str(fault)}


def _answer(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
