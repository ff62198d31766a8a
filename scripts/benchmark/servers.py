"""Starts and stops the servers that are measured, each in a process of its own."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.load import PLAIN, Load, Speech, request
from scripts.benchmark.process import Memory, cpu_seconds, memory
from scripts.benchmark.texts import DELIVERY, PONG

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate and its key, in PEM."""

    chain: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Tools:
    """The compiled programs, and a folder for files of servers and generators."""

    floor: Path
    load: Path
    folder: Path


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and the generator that has its connections."""

    name: str
    pid: int
    load: Load
    port: int

    def cpu_seconds(self) -> float:
        """Return the processor time it has used since its start."""
        return cpu_seconds(self.pid)

    def memory(self) -> Memory:
        """Return its memory now."""
        return memory(self.pid)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many connections there are, in groups of `size` (0: one group of all)."""

    connections: int
    size: int = 0

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return self.connections // self.size if self.size else 1

    def group(self, connection: int) -> int:
        """Return the number of a connection's group."""
        return connection // self.size if self.size else 0


Start = Callable[[Tools, Shape], AbstractContextManager[Server]]


@dataclass(frozen=True, slots=True)
class Program:
    """A program that serves: it prints its port, ends with its standard input, has group paths."""

    name: str
    command: Sequence[str | Path]
    path: Callable[[int], str] = lambda group: f"/{group}"
    speech: Speech = PLAIN

    @contextmanager
    def __call__(self, tools: Tools, shape: Shape) -> Iterator[Server]:
        """Run the server, with a generator for its connections."""
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.strip():
                raise OSError(f"the server {self.name!r} did not start")
            port = int(line)
            places = [self.path(shape.group(i)) for i in range(shape.connections)]
            requests = [request(place) for place in places]
            load = Load(tools.load, tools.folder, port, requests, self.speech)
            try:
                yield Server(self.name, process.pid, load, port)
            finally:
                load.stop()
        finally:
            process.communicate()


def _aiohttp(tls: Certificate | None) -> list[str | Path]:
    files = [tls.chain, tls.key] if tls else []
    return [sys.executable, "-m", "scripts.benchmark.naive", *files]


def floor_program(
    tools: Tools, *, delivery: str = DELIVERY, tls: Certificate | None = None
) -> Program:
    """Return the C loop of write()."""
    files = [tls.chain, tls.key] if tls else []
    return Program("floor", [tools.floor, delivery, PONG, *files])


def naive_program(tls: Certificate | None = None) -> Program:
    """Return an aiohttp handler with a queue and a pump task for each connection."""
    return Program("naive", _aiohttp(tls), lambda group: f"/naive/{group}")


def floor(tools: Tools, shape: Shape) -> AbstractContextManager[Server]:
    """Run the C loop of write()."""
    return floor_program(tools)(tools, shape)


def naive(tools: Tools, shape: Shape) -> AbstractContextManager[Server]:
    """Run an aiohttp handler with a queue and a pump task for each connection."""
    return naive_program()(tools, shape)


def bare(tools: Tools, shape: Shape) -> AbstractContextManager[Server]:
    """Run an aiohttp handler that upgrades and reads, without accounts, outboxes or answers."""
    return Program("bare", _aiohttp(None), lambda group: "/bare")(tools, shape)
