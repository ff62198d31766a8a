"""The server's end of the control socket: its address, the commands, and the route that runs them.

`POST /call` takes the JSON object `{"command", "arguments"}`. It answers `{"result"}`, or `{"code",
"detail"}` with the status of the problem.
"""

import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson
from aiohttp import web

from app.base.errors import NoServer, Problem, sentence
from app.control import api_keys, devices, send, stream, tokens, users
from app.control.operations import NO_SERVER, Command, NoArguments, Offline, Operations, Result

SOCKET_NAME: Final = "control.sock"

# sockaddr_un holds 108 bytes on Linux and 104 on macOS and the BSDs, a final NUL among them.
_MAX_PATH_BYTES = 103

# A command is a few short fields and at most one payload.
_MAX_CALL_BYTES = 32 * 1024 * 1024

# Commands that run when the server stops are writes of a few milliseconds.
_SHUTDOWN_SECONDS = 1.0

_OPERATIONS = web.AppKey("control_operations", Operations)


# The commands


class Status(Result):
    """Where the running server is reached, and the certificate it shows there."""

    url: str
    certificate: Path | None = None


async def _status(operations: Operations, _: NoArguments) -> Status:
    if operations.url is None:
        raise NoServer(NO_SERVER)
    certificate = operations.settings.tls_cert
    return Status(url=operations.url, certificate=certificate and certificate.absolute())


STATUS = Command("status", NoArguments, Status, _status, offline=Offline.NEVER)

COMMANDS: Final[Mapping[str, Command[Any, Any]]] = MappingProxyType(
    {
        command.name: command
        for command in (
            users.ADD,
            users.LIST,
            users.SET_PASSWORD,
            users.DISABLE,
            users.ENABLE,
            users.DELETE,
            devices.LIST,
            devices.RENAME,
            devices.REVOKE,
            tokens.ISSUE,
            tokens.LIST,
            tokens.REVOKE,
            api_keys.ADD,
            api_keys.LIST,
            api_keys.REVOKE,
            send.SEND,
            stream.INFO,
            stream.SHOW,
            stream.RESET,
            STATUS,
        )
    }
)


def command_named(name: str) -> Command[Any, Any]:
    """Return the command; raise Problem `unknown_command` when there is none."""
    command = COMMANDS.get(name)
    if command is None:
        raise Problem(404, "unknown_command", "The server does not know this command.")
    return command


# The socket


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a name of `path` that fits into a socket address, valid inside the block.

    A folder too deep for that is reached through a symbolic link in the temporary folder.
    """
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder:
        link = Path(folder) / "d"
        link.symlink_to(path.parent.absolute(), target_is_directory=True)
        yield str(link / path.name)


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
    try:
        await web.SockSite(runner, _bind(path)).start()
        yield
    finally:
        await runner.cleanup()
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
    command = command_named(call["command"])
    return await command.run_json(request.app[_OPERATIONS], call.get("arguments", {}))


def _answer(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
