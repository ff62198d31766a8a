"""The caller's end of the control socket."""

import asyncio
import http.client
import socket
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import orjson

from app.base.errors import NoServer, Problem
from app.control.address import short_path
from app.control.command import A, Command, Feed, R, version_mismatch

# A busy server may take long to hash a password; a command itself takes milliseconds.
_CALL_SECONDS: Final = 30

_READ_BYTES: Final = 65_536

NO_ANSWER: Final = "no_answer"
"""The code of a Problem: the server took the command, and has stopped before its answer's end."""

_NO_ANSWER: Final = "The server took the command and gave no answer; see its log."


async def call_server(path: Path, command: Command[A, R], arguments: A) -> R:
    """Have the command run by the server on the socket `path`, and return its result.

    Raises Problem as the server did, and NoServer when no server answers there.
    """
    status, answer = await _post(path, _body(command, arguments))
    if status != 200:
        raise Problem(status, answer["code"], answer["detail"])
    return command.read_result(answer["result"])


async def call_feed(path: Path, feed: Feed[A, R], arguments: A) -> AsyncGenerator[R, None]:
    """Have the server on the socket `path` run the feed, and give its items as they come.

    Raises as `call_server` does; Problem `no_answer` is a server that stopped before the end.
    """
    with _exchanging(path) as connection:
        response = await asyncio.to_thread(_begin, connection, "/feed", _body(feed, arguments))
        if response.status != 200:
            body = await asyncio.to_thread(response.read)
            if response.status == 404 and not body.startswith(b"{"):
                raise version_mismatch()
            answer = _decode(body)
            raise Problem(response.status, answer["code"], answer["detail"])
        rest = b""
        while chunk := await asyncio.to_thread(response.read1, _READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in filter(None, lines):
                told = orjson.loads(line)
                if "end" in told:
                    return
                if "item" not in told:
                    raise Problem(500, told["code"], told["detail"])
                yield feed.read_result(told["item"])
        raise http.client.IncompleteRead(rest)


def _body(command: Command[A, R], arguments: A) -> bytes:
    body = {"command": command.name, "arguments": arguments.model_dump(mode="json")}
    return orjson.dumps(body)


async def _post(path: Path, body: bytes) -> tuple[int, dict[str, Any]]:
    with _exchanging(path) as connection:
        response = await asyncio.to_thread(_begin, connection, "/call", body)
        return response.status, _decode(await asyncio.to_thread(response.read))


@contextmanager
def _exchanging(path: Path) -> Iterator["_UnixConnection"]:
    """Give a connection to the socket; raise NoServer, or Problem, for what goes wrong with it."""
    if sys.platform == "win32":
        raise NoServer("Without unix sockets a running server takes no commands; stop it first.")
    connection = _UnixConnection(path)
    try:
        yield connection
    except PermissionError:
        raise Problem(403, "forbidden", f"You may not write to {path}.") from None
    except _NoSocket:
        raise NoServer(f"No server answers on {path}.") from None
    except (http.client.HTTPException, OSError):
        raise Problem(500, NO_ANSWER, _NO_ANSWER) from None
    finally:
        # Wakes the thread too, when it still waits because the caller was cancelled.
        connection.shut_down()


def _begin(connection: "_UnixConnection", route: str, body: bytes) -> http.client.HTTPResponse:
    connection.request("POST", route, body)
    return connection.getresponse()


class _NoSocket(Exception):
    """There is no socket, or nobody listens on it."""


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("control", timeout=_CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; raise PermissionError, or _NoSocket if nobody listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            with short_path(self._path) as name:
                self.sock.connect(name)
        except PermissionError:
            raise
        except OSError as error:
            raise _NoSocket from error

    def shut_down(self) -> None:
        """End the exchange, whoever waits for it."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        self.close()


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and ("result" in answer or "code" in answer):
        return answer
    return {"code": "internal_error", "detail": "The server failed; its log has the reason."}
