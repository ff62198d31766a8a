"""The caller's end of the control socket."""

import asyncio
import http.client
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from app.base.errors import NoServer, Problem
from app.control.address import short_path
from app.control.command import A, Command, R

# A busy server may take long to hash a password; a command itself takes milliseconds.
_CALL_SECONDS: Final = 30

_NO_ANSWER: Final = "The server took the command and gave no answer; see its log."


async def call_server(path: Path, command: Command[A, R], arguments: A) -> R:
    """Have the command run by the server on the socket `path`, and return its result.

    Raises Problem as the server did, and NoServer when no server answers there.
    """
    body = {"command": command.name, "arguments": arguments.model_dump(mode="json")}
    status, answer = await _post(path, orjson.dumps(body))
    if status != 200:
        raise Problem(status, answer["code"], answer["detail"])
    return command.read_result(answer["result"])


async def _post(path: Path, body: bytes) -> tuple[int, dict[str, Any]]:
    if sys.platform == "win32":
        raise NoServer("Without unix sockets a running server takes no commands; stop it first.")
    connection = _UnixConnection(path)
    try:
        status, answer = await asyncio.to_thread(_exchange, connection, body)
    except PermissionError:
        raise Problem(403, "forbidden", f"You may not write to {path}.") from None
    except _NoSocket:
        raise NoServer(f"No server answers on {path}.") from None
    except (http.client.HTTPException, OSError):
        raise Problem(500, "no_answer", _NO_ANSWER) from None
    finally:
        # Wakes the thread too, when it still waits because the caller was cancelled.
        connection.shut_down()
    return status, _decode(answer)


def _exchange(connection: "_UnixConnection", body: bytes) -> tuple[int, bytes]:
    connection.request("POST", "/call", body)
    response = connection.getresponse()
    return response.status, response.read()


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
