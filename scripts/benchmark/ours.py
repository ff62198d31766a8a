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

# Limits that a benchmark would run into are off; everything else is as delivered.
SETTINGS = {
    "MESSAGES_PER_SECOND": "0",
    "BYTES_PER_SECOND": "0",
    "DURABLE_PER_SECOND": "0",
    "RETENTION_ROWS": "100000000",
    "MAX_CONNECTIONS": "1000000",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "MAX_CONNECTIONS_PER_USER": "1000000",
    "MAX_CONNECTIONS_PER_DEVICE": "1000000",
}
START_SECONDS = 30
# The default limit: more would be pruned at the next sign-in.
DEVICES_PER_USER = 50
# Everybody is told the one first; the other says that whoever has a position has all.
CONNECTED = Speech(welcome='{"type":"connected"')
LIVE = Speech(welcome='"live":true}')


@dataclass(frozen=True, slots=True)
class Clients:
    """Who connects: the accounts to make, and from their tokens each connection's request."""

    owners: int
    devices_each: int
    requests: Callable[[Sequence[str], Callable[[str], str]], list[str]]
    speech: Speech = CONNECTED


def by_header(token: str, query: str = "") -> str:
    """Return an upgrade request that presents its token in the Authorization header."""
    return request(f"/v1/ws{query}", [f"Authorization: Bearer {token}"])


def one_user(connections: int) -> Clients:
    """All connections belong to one user: 50 devices, each with as many instances as it takes."""

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        return [
            by_header(tokens[i % len(tokens)], f"?instance=tab{i // len(tokens)}")
            for i in range(connections)
        ]

    # Whoever names an instance is told its position, too.
    return Clients(1, min(connections, DEVICES_PER_USER), requests, LIVE)


def many_users(connections: int) -> Clients:
    """Each connection is a device of its own, five to a user."""

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        return [by_header(token) for token in tokens[:connections]]

    return Clients(-(-connections // 5), 5, requests)


@dataclass(frozen=True, slots=True)
class Newcomers:
    """Who storms in, and for each way of presenting a token where its requests start."""

    clients: Clients
    starts: dict[str, list[int]]


def newcomers(connections: int, runs: int) -> Newcomers:
    """`connections` tokens that are presented again and again, and as many new ones every run."""

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
    """Each group of connections is a user's devices; the one group of all is `one_user`."""
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
        """Return one more generator; who calls stops it."""
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
    """Our server, with the clients' accounts; `prepare` gets its folder before it starts."""
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
            # Its folder goes, too, so there is nothing to save.
            process.kill()
            process.wait()


@contextmanager
def ours_in_shape(tools: Tools, shape: Shape) -> Iterator[Server]:
    """Our server, whose users are the groups."""
    with ours(tools, households(shape)) as server:
        yield server


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which our server has these settings, and none of the caller's."""
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
    """Return once it listens, which it does when it can serve."""
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
