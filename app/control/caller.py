"""The other end of the control socket: what the command line asks a running server."""

import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from app.base.errors import NoServer, Problem
from app.control.address import short_path
from app.control.operations import A, Command, R

# Longer than the hash queue of a busy server; a command itself takes milliseconds.
_CALL_SECONDS = 30


async def call_server(path: Path, command: Command[A, R], arguments: A) -> R:
    """Return the result of the command, run by the server that listens on the socket `path`.

    Raises Problem as the server did, and NoServer when none answers there.
    """
    body = {"command": command.name, "arguments": arguments.model_dump(mode="json")}
    status, answer = await _post(path, orjson.dumps(body))
    if status != 200:
        raise Problem(status, answer["code"], answer["detail"])
    return command.read_result(answer["result"])


async def _post(path: Path, body: bytes) -> tuple[int, dict[str, Any]]:
    if sys.platform == "win32":
        raise NoServer("Without unix sockets a running server takes no commands; stop it first.")
    timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
    try:
        with short_path(path) as name:
            connector = aiohttp.UnixConnector(name)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.post("http://control/call", data=body) as response,
            ):
                return response.status, _decode(await response.read())
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise Problem(403, "forbidden", f"You may not write to {path}.") from None
        raise NoServer(f"No server answers on {path}.") from None
    except (aiohttp.ClientError, TimeoutError):
        raise Problem(
            500, "no_answer", "The server took the command and gave no answer; see its log."
        ) from None


def _decode(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict) and ("result" in answer or "code" in answer):
        return answer
    return {"code": "internal_error", "detail": "The server failed; its log has the reason."}
