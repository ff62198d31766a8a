"""scripts/smoke.py against a server that was started as people start it."""

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from scripts.smoke import Socket, Unexpected
from tests.scripts.running import Running

pytestmark = pytest.mark.process

SMOKE = Path(__file__).parents[2] / "scripts/smoke.py"


def smoke(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SMOKE, *arguments], capture_output=True, text=True, cwd="/")


def test_it_walks_every_step_of_a_good_server(running: Running) -> None:
    outcome = smoke(running.url, running.handle, running.password, *running.options)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    lines = outcome.stdout.splitlines()
    assert len(lines) == 12
    assert all(line.startswith("ok ") and " ms  " in line for line in lines)


def test_it_may_be_run_again(running: Running) -> None:
    for _ in range(2):
        assert (
            smoke(running.url + "/", running.handle, running.password, *running.options).returncode
            == 0
        )


def test_it_fails_with_a_wrong_password_and_does_not_show_it(running: Running) -> None:
    outcome = smoke(running.url, running.handle, "not the password", *running.options)
    assert outcome.returncode == 1
    assert "FAIL  sign in" in outcome.stdout
    assert "401" in outcome.stdout
    assert "not the password" not in outcome.stdout + outcome.stderr


def test_it_fails_where_nobody_listens(unused_tcp_port: int) -> None:
    outcome = smoke(f"http://127.0.0.1:{unused_tcp_port}", "anna", "whatever")
    assert outcome.returncode == 1
    assert outcome.stdout.startswith("FAIL  sign in")


@pytest.mark.parametrize(
    ("code", "meaning"),
    [("busy", "did nothing"), ("timed_out", "unknown"), ("forbidden", "said so")],
)
@pytest.mark.parametrize(
    "listen",
    [lambda socket: socket.hear("ok"), lambda socket: socket.hear_error("parse_error")],
    ids=["for an answer", "for another error"],
)
async def test_an_error_that_it_did_not_wait_for_ends_it_with_what_the_error_means(
    code: str, meaning: str, listen: Callable[[Socket], Awaitable[Any]]
) -> None:
    async def refuse(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"type": "error", "payload": {"code": code, "message": "said so"}})
        await ws.receive()
        return ws

    app = web.Application()
    app.router.add_get("/v1/ws", refuse)
    async with TestClient(TestServer(app)) as client, client.ws_connect("/v1/ws") as ws:
        with pytest.raises(Unexpected, match=f"got the error '{code}'.*{meaning}"):
            await listen(Socket(ws))
