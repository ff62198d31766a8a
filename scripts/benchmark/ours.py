"""Our own server, as `python -m app serve` starts it, on a folder of its own."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.settings import ENV_PREFIX
from app.storage.database import DATABASE_NAME
from scripts.benchmark.load import Load, Speech, request
from scripts.benchmark.population import cookie_maker, populate
from scripts.benchmark.servers import ROOT, Certificate, Server, Shape, Tools
from scripts.unlimited import UNLIMITED

# Limits that a benchmark would reach are off; all other settings have their defaults.
SETTINGS = {
    **UNLIMITED,
    "RETENTION_ROWS": "100000000",
    "MAX_CONNECTIONS": "1000000",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "MAX_CONNECTIONS_PER_USER": "1000000",
    "MAX_CONNECTIONS_PER_DEVICE": "1000000",
}
START_SECONDS = 30
# The default limit: more would be pruned at the next sign-in.
DEVICES_PER_USER = 50
# The first frame of every connection, and the one that says that it has everything it missed.
CONNECTED = Speech(welcome='{"type":"connected"')
LIVE = Speech(welcome='"live":true}')


@dataclass(frozen=True, slots=True)
class Clients:
    """The accounts to make, and how to make each connection's upgrade request from their tokens."""

    owners: int
    devices_each: int
    requests: Callable[[Sequence[str], Callable[[str], str]], list[str]]
    speech: Speech = CONNECTED


def by_header(token: str, query: str = "") -> str:
    """Return an upgrade request that presents its token in the Authorization header."""
    return request(f"/v1/ws{query}", [f"Authorization: Bearer {token}"])


def one_user(connections: int) -> Clients:
    """Return connections of one user with 50 devices, each with as many instances as it takes."""

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        return [
            by_header(tokens[i % len(tokens)], f"?instance=tab{i // len(tokens)}")
            for i in range(connections)
        ]

    # A connection that names an instance is told its position, too.
    return Clients(1, min(connections, DEVICES_PER_USER), requests, LIVE)


def many_users(connections: int) -> Clients:
    """Return connections that are each a device of its own, five to a user."""

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        return [by_header(token) for token in tokens[:connections]]

    return Clients(-(-connections // 5), 5, requests)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Clients for storms of upgrades; `starts` has the first requests, by how they give a token."""

    clients: Clients
    starts: dict[str, list[int]]


def newcomers(connections: int, runs: int) -> Newcomers:
    """Return `connections` tokens that every run presents again, and as many new ones for each."""

    def requests(tokens: Sequence[str], cookie: Callable[[str], str]) -> list[str]:
        seen, unseen = tokens[:connections], tokens[connections:]
        half = runs * connections
        return [
            *(by_header(token) for token in seen),
            *(by_cookie(token, cookie) for token in seen),
            *(by_header(token) for token in unseen[:half]),
            *(by_cookie(token, cookie) for token in unseen[half : 2 * half]),
        ]

    new = [2 * connections + connections * run for run in range(2 * runs)]
    return Newcomers(
        Clients(-(-connections * (2 * runs + 1) // 5), 5, requests),
        {
            "header, seen": [0],
            "cookie, seen": [connections],
            "header, unseen": new[:runs],
            "cookie, unseen": new[runs:],
        },
    )


def by_cookie(token: str, cookie: Callable[[str], str]) -> str:
    """Return an upgrade request that presents its token in the cookie."""
    return request("/v1/ws", [f"Cookie: session_token={cookie(token)}"])


def households(shape: Shape) -> Clients:
    """Return a user's devices for each group of connections; one group of all is `one_user`."""
    if not shape.size:
        return one_user(shape.connections)

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        return [by_header(token) for token in tokens]

    return Clients(shape.groups, shape.size, requests)


@dataclass(frozen=True, slots=True)
class Ours(Server):
    """Our running server, its data folder and a token of each device."""

    folder: Path
    tokens: Sequence[str]
    tools: Tools

    def attach(self, requests: Sequence[str], speech: Speech) -> Load:
        """Return one more generator, which the caller stops."""
        return Load(self.tools.load, self.tools.folder, self.port, requests, speech)


@contextmanager
def ours(
    tools: Tools,
    clients: Clients,
    *,
    settings: Mapping[str, str] | None = None,
    tls: Certificate | None = None,
    prepare: Callable[[Path], object] = lambda folder: None,
    name: str = "ours",
) -> Iterator[Ours]:
    """Run our server with the clients' accounts; `prepare` is called with its folder first."""
    with tempfile.TemporaryDirectory(dir=tools.folder) as place:
        folder = Path(place)
        tokens = asyncio.run(populate(folder / DATABASE_NAME, clients.owners, clients.devices_each))
        requests = clients.requests(tokens, cookie_maker(folder))
        prepare(folder)
        port = _free_port()
        process = _serve(folder, port, settings or {}, tls)
        try:
            _until_healthy(process, port)
            load = Load(tools.load, tools.folder, port, requests, clients.speech)
            try:
                yield Ours(name, process.pid, load, port, folder, tokens, tools)
            finally:
                load.stop()
        finally:
            # Its folder is removed, too, so there is nothing to save.
            process.kill()
            process.wait()


@contextmanager
def ours_in_shape(tools: Tools, shape: Shape) -> Iterator[Server]:
    """Run our server with a user for each group."""
    with ours(tools, households(shape)) as server:
        yield server


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings of our server and no others."""
    own = {f"{ENV_PREFIX}{name}": value for name, value in settings.items()}
    return {**{k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}, **own}


def _serve(
    folder: Path, port: int, settings: Mapping[str, str], tls: Certificate | None
) -> subprocess.Popen[bytes]:
    place = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]
    if tls:
        place += ["--tls-cert", str(tls.chain), "--tls-key", str(tls.key)]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "app", "serve", *place],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            env=environment({**SETTINGS, **settings}),
        )


def _until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until it listens, which it does once it can serve."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise OSError(f"our server ended with {process.returncode} at its start")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise OSError(f"our server was not healthy after {START_SECONDS} s")
