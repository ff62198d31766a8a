"""What a server prints: logs for machines or people, and never a secret."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import aiohttp
import pytest
from serving import PASSWORD as OTHER_PASSWORD
from serving import PATIENCE, masked
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.cli.conftest import PASSWORD, CommandLine
from tests.process.conftest import Start
from tests.process.server import ROOT, ServerProcess, environment


async def test_logs_are_json_with_one_line_for_the_start_and_one_for_the_end_of_a_connection(
    start: Start,
) -> None:
    server = start()
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        await peer.silence()
    await server.until_logged("disconnected")
    lines = [line for line in server.log if "connection" in line]
    assert [line["message"] for line in lines] == ["connected", "disconnected"]
    assert lines[0]["connection"] == lines[1]["connection"]
    assert (lines[1]["code"], lines[1]["user"]) == (1000, phone.user_id)
    for line in server.log:
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


async def test_a_reader_of_the_log_who_stopped_holds_up_neither_the_server_nor_its_end(
    start: Start,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"\n" * 4096)
    os.set_blocking(writing, True)
    server = start(stderr_to=writing, drain_seconds=0)
    os.close(writing)
    phone = await server.device("phone")
    for _ in range(20):
        async with server.connected(phone) as peer:
            await peer.silence()
    server.signal(signal.SIGTERM)
    assert await server.status() == 0
    os.close(reading)


class Terminal:
    """A server whose standard output or error, or both, are a terminal."""

    def __init__(self, data_dir: Path, *, stdout: bool) -> None:
        self._screen, end = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", "0", "--data-dir", str(data_dir)],
            cwd=ROOT,
            env=environment({"drain_seconds": 0}),
            stdin=subprocess.DEVNULL,
            stdout=end if stdout else subprocess.DEVNULL,
            stderr=end,
        )
        os.close(end)
        # A test that reads in vain gets an error once the process is killed.
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()
        self.text = ""

    def read_until(self, wanted: str) -> None:
        while wanted not in self.text:
            self.text += os.read(self._screen, 4096).decode()

    def stop(self) -> None:
        """Stop the server and read what it still prints."""
        self.process.send_signal(signal.SIGTERM)
        try:
            while more := os.read(self._screen, 4096):
                self.text += more.decode()
        except OSError:
            # Linux says so when nobody has the other end open any more.
            pass
        assert self.process.wait(PATIENCE) == 0

    def end(self) -> None:
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._screen)


def test_on_a_terminal_logs_are_text_and_the_first_password_is_shown_once(
    tmp_path: Path,
) -> None:
    for first in (True, False):
        terminal = Terminal(tmp_path, stdout=True)
        try:
            terminal.read_until("Add a user:")
            terminal.stop()
        finally:
            terminal.end()
        shown = re.findall(r"has the password (\S+)", terminal.text)
        assert len(shown) == first
        assert all(terminal.text.count(password) == 1 for password in shown)
        assert re.search(
            r"^\d\d:\d\d:\d\d\.\d{3} INFO +serving url=http://", terminal.text, re.MULTILINE
        )
        assert "{" not in terminal.text
    [user] = CommandLine(tmp_path).json("users", "list")
    assert (user["handle"], user["roles"]) == ("admin", ["admin"])


def test_output_that_is_no_terminal_gets_no_password(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, stdout=False)
    try:
        terminal.read_until("serving")
        terminal.stop()
    finally:
        terminal.end()
    assert CommandLine(tmp_path).json("users", "list") == []


# No secret

TYPED = {
    "wrong password": "wrong-horse-secret",
    "token in the query": "query-token-secret",
    "token of nobody": "nobody-token-secret-nobody-token-secret",
    "token as a subprotocol": "subprotocol-token-secret",
    "cookie of nobody": "cookie-of-nobody-secret",
    "basic credentials": "YmFzaWMtc2VjcmV0OnNlY3JldA",
    "malformed header": "malformed-header-secret",
    "malformed body": "malformed-body-secret",
    "malformed start": "malformed-start-secret",
    "payload": "payload-secret",
    "bad message": "bad-message-secret",
    "type": "type_secret",
    "new password": "new-horse-secret",
    "instance": "instance_secret%0A",
}


async def sign_in(server: ServerProcess, http: aiohttp.ClientSession, password: str) -> str | None:
    form = {
        "user_handle": "ada",
        "password": password,
        "device_uuid": "device-of-the-session",
        "device_type": "web",
    }
    async with http.post(f"{server.url}/v1/auth/login", json=form) as answer:
        return (await answer.json()).get("token")


async def shout(server: ServerProcess, data: bytes) -> None:
    """Send bytes that are no HTTP and read what is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    assert b"secret" not in answer
    writer.close()
    await writer.wait_closed()


async def refused(url: str, **options: object) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(url, proxy=None, open_timeout=PATIENCE, **options):
            pass


async def live(server: ServerProcess) -> list[str]:
    """Do everything that takes a secret; return the secrets that the server gave."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        assert await sign_in(server, http, TYPED["wrong password"]) is None
        token = await sign_in(server, http, PASSWORD)
        assert token is not None
        [cookie] = [cookie.value for cookie in jar]
        async with http.ws_connect(f"{server.url}/v1/ws") as by_cookie:
            sent = {"to": "user", "type": "n." + TYPED["type"], "payload": TYPED["payload"]}
            await by_cookie.send_json({"type": "device.send", "payload": sent})
            await by_cookie.receive()
            assert TYPED["payload"] in (await by_cookie.receive()).data
            await by_cookie.send_str('{"type": "' + TYPED["bad message"])
            await by_cookie.send_json({"type": TYPED["type"], "payload": TYPED["payload"]})
            await by_cookie.send_bytes(TYPED["payload"].encode())
            for _ in range(3):
                assert "error" in (await by_cookie.receive()).data
        change = {"old_password": PASSWORD, "new_password": TYPED["new password"]}
        async with http.post(f"{server.url}/v1/auth/password", json=change) as answer:
            assert answer.status == 204
        async with http.post(f"{server.url}/v1/auth/login", data=TYPED["malformed body"]) as answer:
            assert answer.status in (400, 415)
        async with http.get(f"{server.url}/v1/x?token={TYPED['token in the query']}") as answer:
            assert answer.status == 404
    await knock(server, token)
    for data in (
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization {TYPED['malformed header']}\r\n\r\n",
        f"{TYPED['malformed start']}\r\n\r\n",
        f"GET /v1/devices HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\x00\r\n\r\n",
        f"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Content-Type: application/json\r\n\r\n{TYPED['malformed body']}\r\n\r\n",
    ):
        await shout(server, data.encode())
    return [token, cookie]


async def knock(server: ServerProcess, token: str) -> None:
    """Try an upgrade in every way that presents a secret."""
    url = f"ws://{server.host}/v1/ws"
    async with connect(url, proxy=None, subprotocols=["switchboard.v1", f"bearer.{token}"]) as ws:
        await ws.recv()
        ws.transport.write(masked(TYPED["payload"].encode() + b"\xff"))
        await ws.wait_closed()
        assert ws.close_code == 1007
    for headers in (
        {"Authorization": f"Bearer {TYPED['token of nobody']}"},
        {"Authorization": f"Basic {TYPED['basic credentials']}"},
        {"Cookie": f"session_token={TYPED['cookie of nobody']}"},
        {},
    ):
        await refused(f"{url}?token={TYPED['token in the query']}", additional_headers=headers)
    await refused(url, subprotocols=[f"bearer.{TYPED['token as a subprotocol']}"])
    await refused(
        f"{url}?instance={TYPED['instance']}", additional_headers={"Authorization": token}
    )


async def test_what_is_typed_and_given_is_printed_at_no_level(start: Start) -> None:
    server = start(log_level="debug", drain_seconds=0)
    given = await live(server)
    server.signal(signal.SIGTERM)
    assert await server.status() == 0
    printed = server.stdout.read_text() + server.stderr.read_text()
    assert len(server.logged("connected")) == 2
    assert len(server.logged("refused")) == 6
    for secret in (*TYPED.values(), *given, PASSWORD, OTHER_PASSWORD):
        assert secret not in printed
        assert secret.strip("=")[-16:] not in printed
    assert "secret" not in printed
    assert not [line for line in server.log if "exception" in line]
    assert not [line for line in printed.splitlines() if not json.loads(line)]
