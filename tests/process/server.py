"""`python -m app serve` in a process of its own, and what is needed to talk to it from outside."""

import asyncio
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from serving import PATIENCE, Device, Peer, RawPeer
from websockets.asyncio.client import connect

from scripts.faults.activation import handing_over
from tests.cli.conftest import CommandLine

ROOT = Path(__file__).parents[2]

LIFETIME = 10 * PATIENCE
"""Seconds after which a process is killed that its test has forgotten."""


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return this process's environment with these settings of the server and no others."""
    clean = {name: value for name, value in os.environ.items() if "SWITCHBOARD_" not in name}
    return clean | {f"SWITCHBOARD_{name.upper()}": str(value) for name, value in settings.items()}


def allow_files(count: int) -> None:
    """Limit the open files of this process for good."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


class Program:
    """A program in a process of its own.

    Both outputs go to files, so that it never waits; `stderr_to` is another place for errors. A
    `listener` is handed to it as systemd does. It may have `open_files` open, if that is given.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        settings: Mapping[str, Any],
        python_path: Path | None = None,
        lifetime: float = LIFETIME,
        stderr_to: int | None = None,
        listener: socket.socket | None = None,
        open_files: int | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        more = {"PYTHONPATH": str(python_path)} if python_path else {}
        kept = () if listener is None else (listener.fileno(),)
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        with self.stdout.open("wb") as stdout, self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                handing_over(listener, arguments),
                pass_fds=kept,
                cwd=ROOT,
                env=environment(settings) | more,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr if stderr_to is None else stderr_to,
                preexec_fn=partial(allow_files, open_files) if open_files else None,
            )
        self._watchdog = threading.Timer(lifetime, self.process.kill)
        self._watchdog.daemon = True
        self._watchdog.start()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def status(self) -> int:
        """Wait for the end of the process and return its exit status."""
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    async def says(self, line: str) -> None:
        """Wait until this line is on standard output."""
        async with asyncio.timeout(PATIENCE):
            while line not in self.stdout.read_text().splitlines():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def end(self) -> None:
        """Kill the process if it still runs."""
        self._watchdog.cancel()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class ServerProcess(Program):
    """A server that answers; it logs JSON unless its settings say otherwise."""

    def __init__(
        self,
        folder: Path,
        *,
        ca: Path | None = None,
        port: int = 0,
        lifetime: float = LIFETIME,
        python_path: Path | None = None,
        stderr_to: int | None = None,
        listener: socket.socket | None = None,
        flags: Sequence[str] = (),
        open_files: int | None = None,
        **settings: Any,
    ) -> None:
        self.data_dir = folder / "data"
        self.run = CommandLine(self.data_dir)
        self.client_tls = ssl.create_default_context(cafile=ca) if ca else None
        self._raw_peers: list[RawPeer] = []
        super().__init__(
            folder,
            *("-m", "app", "serve", "--json", "--port", str(port)),
            *("--data-dir", str(self.data_dir)),
            *flags,
            settings=settings,
            lifetime=lifetime,
            python_path=python_path,
            stderr_to=stderr_to,
            listener=listener,
            open_files=open_files,
        )
        self.url = self._wait_until_it_answers()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.host = f"127.0.0.1:{self.port}"

    def _wait_until_it_answers(self) -> str:
        """Return the url once `/health` says that all is well."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            announced = self.stdout.read_text()
            if announced.endswith("\n"):
                url = str(json.loads(announced)["url"])
                if self.client_tls is not None or self.get("/health", url=url)[0] == 200:
                    return url
            time.sleep(0.01)
        self.end()
        raise AssertionError(f"the server did not start: {self.stderr.read_text()}")

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, url: str | None = None
    ) -> tuple[int, Mapping[str, str]]:
        """Return status and headers of the answer to a GET."""
        request = urllib.request.Request(f"{url or self.url}{path}", headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(
                request, timeout=PATIENCE, context=self.client_tls
            ) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        text = self.stderr.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the lines with this message."""
        return [line for line in self.log if line["message"] == message]

    async def until_logged(self, message: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until there are this many lines with this message, and return them."""
        async with asyncio.timeout(PATIENCE):
            while len(found := self.logged(message)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return found

    def issue(self, name: str, handle: str = "ada") -> Device:
        """Return a device of the user, signed in by the command line."""
        made = self.run.json(
            *("tokens", "issue", handle, "--device-type", "web"),
            *("--device-uuid", f"uuid-of-{name}"),
        )
        return Device(made["token"], made["user_id"], made["device_id"], made["session_id"])

    async def device(self, name: str, handle: str = "ada") -> Device:
        return await asyncio.to_thread(self.issue, name, handle)

    @asynccontextmanager
    async def connected(
        self, device: Device, query: str = "", **options: Any
    ) -> AsyncIterator[Peer]:
        """Give a peer that has read its `connected`; it leaves at the end of the block."""
        options.setdefault("open_timeout", PATIENCE)
        async with connect(
            f"{self.url.replace('http', 'ws', 1)}/v1/ws{query}",
            additional_headers=device.by_header,
            compression=None,
            proxy=None,
            ping_interval=None,
            ssl=self.client_tls,
            close_timeout=PATIENCE,
            **options,
        ) as ws:
            peer = Peer(ws)
            assert (await peer.receive())["type"] == "connected"
            if query.startswith(("?resume=live", "?instance=")):
                assert (await peer.receive())["type"] == "position"
            yield peer

    @asynccontextmanager
    async def raw(self, device: Device) -> AsyncIterator[RawPeer]:
        """Give a raw peer that has read its `connected`."""
        peer = await RawPeer.upgrade(self, device)
        try:
            assert (await peer.frame())[0] == 1
            yield peer
        finally:
            await peer.drop()

    def add_raw(self, peer: RawPeer) -> None:
        """Do nothing: the block of `raw` drops its peer."""

    def sockets(self) -> int:
        """Return how many connections the server has, as its metrics say."""
        return int(self.metric("switchboard_connections"))

    def metric(self, name: str) -> float:
        """Return the value of this metric, labels included."""
        with urllib.request.urlopen(
            f"{self.url}/metrics", timeout=PATIENCE, context=self.client_tls
        ) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(f"{name} "):
                    return float(line.rsplit(" ", 1)[1])
        raise AssertionError("no such metric")


@dataclass
class StoppablePeer:
    """A client in a process of its own, which can be stopped as a whole."""

    program: Program

    @classmethod
    async def start(
        cls, folder: Path, server: ServerProcess, device: Device, *, stopped: bool = False
    ) -> "StoppablePeer":
        """Start a client, wait until it is connected and return it."""
        program = Program(
            folder,
            str(Path(__file__).parent / "client.py"),
            f"{server.url.replace('http', 'ws', 1)}/v1/ws",
            settings={"token": device.token},
        )
        peer = cls(program)
        await program.says("connected")
        if stopped:
            peer.stop()
        return peer

    def stop(self) -> None:
        """Have the process do nothing any more; its system still acknowledges what arrives."""
        self.program.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.program.process.pid, os.WSTOPPED | os.WNOWAIT)
