"""The servers that are measured: each is started in a process of its own, asked and stopped."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.load import Load, request
from scripts.benchmark.process import Memory, cpu_seconds, memory
from scripts.benchmark.texts import DELIVERY, PONG

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every server and generator needs: the compiled programs and a folder for files."""

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
        """Return the memory it holds now."""
        return memory(self.pid)


@contextmanager
def _started(
    tools: Tools, name: str, command: Sequence[str | Path], requests: Sequence[str]
) -> Iterator[Server]:
    """Run a program that prints its port and ends with its standard input."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip():
            raise OSError(f"the server {name!r} did not start")
        load = Load(tools.load, tools.folder, int(line), 0, requests)
        try:
            yield Server(name, process.pid, load, int(line))
        finally:
            load.stop()
    finally:
        process.communicate()


@contextmanager
def floor(tools: Tools, connections: int) -> Iterator[Server]:
    """The C loop of write()."""
    command: list[str | Path] = [tools.floor, DELIVERY, PONG]
    with _started(tools, "floor", command, [request("/")] * connections) as server:
        yield server


@contextmanager
def _peer(tools: Tools, name: str, connections: int) -> Iterator[Server]:
    command = [sys.executable, "-m", "scripts.benchmark.naive"]
    with _started(tools, name, command, [request(f"/{name}")] * connections) as server:
        yield server


@contextmanager
def naive(tools: Tools, connections: int) -> Iterator[Server]:
    """An aiohttp handler with a queue and a pump task for each connection."""
    with _peer(tools, "naive", connections) as server:
        yield server


@contextmanager
def bare(tools: Tools, connections: int) -> Iterator[Server]:
    """An aiohttp handler that upgrades and reads, without accounts, outboxes or answers."""
    with _peer(tools, "bare", connections) as server:
        yield server
