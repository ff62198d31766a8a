#!/usr/bin/env python3
"""A smoke test of a running server: scripts/smoke.py URL HANDLE PASSWORD

Signs in as two devices of the user, one that presents its session by cookie and one that does so
by header, and walks what every client relies on: connected, ping, relay, replace, bad input, and
that signing out closes the socket. Prints each step with its time; the exit status is 0 when all
of them hold, else 1. URL is the server's, such as https://switchboard.example; the user must exist
(python -m app users add HANDLE). Both devices are signed out again at the end, whatever happens.
"""

import argparse
import asyncio
import getpass
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import aiohttp
except ModuleNotFoundError:
    own = Path(__file__).resolve().parents[1] / ".venv"
    if Path(sys.prefix) == own or not (own / "bin/python").exists():
        sys.exit("scripts/smoke.py needs aiohttp: run scripts/setup first.")
    python = str(own / "bin/python")
    os.execv(python, [python, *sys.argv])  # noqa: S606

PATIENCE_SECONDS = 10
# The same each time, so that smoke tests do not fill the user's list of devices.
COOKIE_DEVICE = "smoke-test-by-cookie"
HEADER_DEVICE = "smoke-test-by-header"

# After these codes one must know whether the server did what it was asked for.
_DONE = {
    "busy": "the server did nothing: try again when it has less to do",
    "timed_out": "whether the server did it is unknown",
}


class Unexpected(Exception):
    """The server did something else than it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Device:
    """A signed-in device and the HTTP session that has its cookies."""

    http: aiohttp.ClientSession
    url: str
    headers: dict[str, str]

    @asynccontextmanager
    async def socket(self, instance: str) -> AsyncIterator["Socket"]:
        """Connect, and close the socket at the end of the block."""
        address = f"{self.url}/v1/ws?instance={instance}"
        async with self.http.ws_connect(address, headers=self.headers) as ws:
            yield Socket(ws)

    async def sign_out(self) -> None:
        """End the session."""
        async with self.http.post(f"{self.url}/v1/auth/logout", headers=self.headers) as answer:
            _expect(answer.status < 300, f"sign-out answered {answer.status}")


class Socket:
    """A connection, with checks of what the server sends."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def say(self, message: dict[str, Any]) -> None:
        """Send a message."""
        await self.ws.send_str(json.dumps(message))

    async def hear(self, wanted: str) -> dict[str, Any]:
        """Return the next message of type `wanted`, skipping all others but an `error`."""
        while True:
            frame = await self.ws.receive(PATIENCE_SECONDS)
            _expect(
                frame.type is aiohttp.WSMsgType.TEXT,
                f"waited for {wanted!r} and the socket closed with {self.ws.close_code}",
            )
            message: dict[str, Any] = json.loads(frame.data)
            if message["type"] == wanted:
                return message
            if message["type"] == "error":
                raise Unexpected(f"waited for {wanted!r} and got {_told(message)}")

    async def hear_error(self, code: str) -> None:
        """Check that the next `error` has this code."""
        message = await self.hear("error")
        _expect(
            message["payload"]["code"] == code,
            f"expected the error {code!r}, got {_told(message)}",
        )

    async def closed(self, reason: str) -> None:
        """Check that the server closes with 1000 and this reason."""
        while (frame := await self.ws.receive(PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
            pass
        _expect(frame.type is aiohttp.WSMsgType.CLOSE, f"expected a close, got {frame.type.name}")
        got = (frame.data, frame.extra)
        _expect(got == (1000, reason), f"expected a close with 1000 {reason!r}, got {got}")


def _told(error: dict[str, Any]) -> str:
    """Return what an `error` says, and what its code means where the server leaves that open."""
    code, message = error["payload"]["code"], error["payload"]["message"]
    done = _DONE.get(code)
    return f"the error {code!r}: {message}" + (f" ({done})" if done else "")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Unexpected(otherwise)


class Walk:
    """Takes the steps in order and prints each with its time once it has ended."""

    def __init__(self, url: str, handle: str, password: str, tls: ssl.SSLContext | None) -> None:
        self._url = url.rstrip("/")
        self._credentials = {"user_handle": handle, "password": password}
        self._tls: ssl.SSLContext | bool = tls or True

    @asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                yield
        except TimeoutError as error:
            raise Unexpected(f"{name}: nothing came for {PATIENCE_SECONDS} s") from error
        except (aiohttp.ClientError, KeyError, ValueError, TypeError) as error:
            raise Unexpected(f"{name}: {type(error).__name__}: {error}") from error
        except Unexpected as error:
            raise Unexpected(f"{name}: {error}") from None
        print(f"ok    {(time.perf_counter() - started) * 1000:8.1f} ms  {name}", flush=True)

    async def run(self) -> None:
        """Take every step; raises Unexpected at the first that does not hold."""
        async with AsyncExitStack() as stack:
            async with self._step("sign in, to be known by the cookie"):
                cookie = await self._sign_in(stack, COOKIE_DEVICE, by_cookie=True)
            async with self._step("sign in, to be known by the Authorization header"):
                header = await self._sign_in(stack, HEADER_DEVICE, by_cookie=False)
            async with self._step("connect by cookie: `connected` comes first"):
                one, one_id = await self._connect(stack, cookie, "one")
            async with self._step("connect by header: `connected` comes first"):
                two, two_id = await self._connect(stack, header, "one")
            _expect(one_id != two_id, "two devices have the same device_id")
            await self._talk(one, two, one_id)
            await self._fault(two)
            await self._replace(stack, header, two)
            async with self._step("sign out: the socket closes with 1000 signed_out"):
                await cookie.sign_out()
                await one.closed("signed_out")

    async def _sign_in(self, stack: AsyncExitStack, uuid: str, *, by_cookie: bool) -> Device:
        jar = aiohttp.CookieJar(unsafe=True) if by_cookie else aiohttp.DummyCookieJar()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls), cookie_jar=jar)
        )
        form = {**self._credentials, "device_uuid": uuid, "device_type": "web"}
        async with http.post(f"{self._url}/v1/auth/login", json=form) as answer:
            _expect(answer.status == 201, f"the sign-in answered {answer.status}, not 201")
            token = (await answer.json())["token"]
            _expect(not by_cookie or "session_token" in answer.cookies, "no cookie was set")
        headers = {} if by_cookie else {"Authorization": f"Bearer {token}"}
        device = Device(http, self._url, headers)
        stack.push_async_callback(_end_session, device)
        return device

    async def _connect(
        self, stack: AsyncExitStack, device: Device, instance: str
    ) -> tuple[Socket, int]:
        socket = await stack.enter_async_context(device.socket(instance))
        frame = await socket.ws.receive(PATIENCE_SECONDS)
        _expect(frame.type is aiohttp.WSMsgType.TEXT, "the first frame is not a text")
        message = json.loads(frame.data)
        _expect(message["type"] == "connected", f"the first frame is {message['type']!r}")
        return socket, int(message["payload"]["device_id"])

    async def _talk(self, one: Socket, two: Socket, one_id: int) -> None:
        async with self._step("ping is answered with pong"):
            await one.say({"type": "ping", "payload": None, "id": "a ping"})
            _expect((await one.hear("pong"))["reply_to"] == "a ping", "pong lacks its reply_to")
        async with self._step("a message to the others arrives on the other device"):
            sent = {"to": "others", "type": "smoke.test", "payload": {"text": "Grüße, 世界"}}
            await one.say({"type": "device.send", "payload": sent, "id": "a relay"})
            message = await two.hear("smoke.test")
            _expect(message["payload"] == sent["payload"], "the payload has changed on its way")
            _expect(message["from"]["device_id"] == one_id, "the message names another sender")
            _expect((await one.hear("ok"))["reply_to"] == "a relay", "ok lacks its reply_to")

    async def _fault(self, two: Socket) -> None:
        async with self._step("bad JSON is answered with parse_error"):
            await two.ws.send_str("{")
            await two.hear_error("parse_error")
        async with self._step("an unknown type is answered with unknown_type"):
            await two.say({"type": "nobody.knows", "payload": None})
            await two.hear_error("unknown_type")

    async def _replace(self, stack: AsyncExitStack, device: Device, old: Socket) -> None:
        async with self._step("the same instance again: the old socket closes with 1000 replaced"):
            new, _ = await self._connect(stack, device, "one")
            await old.closed("replaced")
        async with self._step("the new socket is alive"):
            await new.say({"type": "ping", "payload": None})
            await new.hear("pong")


async def _end_session(device: Device) -> None:
    """Sign out; a device that has signed out already is no error."""
    try:
        await device.sign_out()
    except (Unexpected, aiohttp.ClientError, TimeoutError):
        return


def _tls(ca_file: str | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=ca_file) if ca_file else None


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/smoke.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", help="http:// or https:// and a host")
    parser.add_argument("handle", metavar="HANDLE")
    parser.add_argument(
        "password",
        metavar="PASSWORD",
        nargs="?",
        help="or, not seen by others on this machine, in SWITCHBOARD_SMOKE_PASSWORD; else asked",
    )
    parser.add_argument("--ca-file", help="PEM file of the authority that signed the certificate")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Walk and report; returns the exit status."""
    options = _arguments(arguments)
    password = options.password or os.environ.get("SWITCHBOARD_SMOKE_PASSWORD")
    walk = Walk(
        options.url,
        options.handle,
        password if password is not None else getpass.getpass(),
        _tls(options.ca_file),
    )
    started = time.perf_counter()
    try:
        asyncio.run(walk.run())
    except Unexpected as error:
        print(f"FAIL  {error}", flush=True)
        return 1
    print(f"ok    {(time.perf_counter() - started) * 1000:8.1f} ms  everything")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
