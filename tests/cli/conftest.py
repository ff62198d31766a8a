"""The command line in this process, and servers and listeners in processes of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from serving import PATIENCE

from app.cli.main import commands

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the settings of the environment in which the tests run."""
    for name in os.environ:
        if name.upper().startswith("SWITCHBOARD_"):
            monkeypatch.delenv(name)


@dataclass
class CommandLine:
    """Runs commands on one data folder."""

    data_dir: Path

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0) -> Result:
        """Run a command that ends with this status."""
        result = CliRunner().invoke(
            commands, [*arguments, "--data-dir", str(self.data_dir)], input=stdin
        )
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self(*arguments, "--json", stdin=stdin).stdout)

    def refused(self, *arguments: str, stdin: str = "", status: int = 1) -> str:
        """Run a command that fails and return its last line on standard error."""
        result = self(*arguments, stdin=stdin, status=status)
        assert result.stdout == ""
        return result.stderr.splitlines()[-1]

    def add(self, handle: str = "ada") -> None:
        """Add a user."""
        self("users", "add", handle, "--password-stdin", stdin=f"{PASSWORD}\n")

    def token(self, handle: str = "ada", uuid: str = "device-0001") -> str:
        """Return a new token."""
        return self(
            "tokens", "issue", handle, "--device-uuid", uuid, "--device-type", "web"
        ).stdout.strip()


@pytest.fixture
def run(tmp_path: Path) -> CommandLine:
    """The command line on a folder of its own."""
    return CommandLine(tmp_path / "data")


class Process:
    """`python -m app …` in a process of its own."""

    def __init__(self, *arguments: str, patience: float = PATIENCE, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        # A test that waits for a line in vain gets an empty one once the process is killed.
        self._watchdog = threading.Timer(patience, self._process.kill)
        self._watchdog.start()
        assert self._process.stdin is not None
        self.stdin = self._process.stdin

    def line(self) -> str:
        """Wait for the next line of standard output and return it."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def state(self) -> str:
        """Wait for the next line of standard error and return it."""
        assert self._process.stderr is not None
        return self._process.stderr.readline().rstrip("\n")

    def last_state(self) -> str:
        """Wait for the end of standard error and return its last line."""
        last = ""
        while line := self.state():
            last = line
        return last

    def type(self, line: str) -> None:
        """Write a line on its standard input."""
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    def leave(self) -> None:
        """Stop reading its standard output, as `head` does when it has enough."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def interrupt(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit status."""
        self._process.send_signal(number)
        return self.status()

    def status(self) -> int:
        """Wait for the end of the process and return its exit status."""
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        """Kill the process if it still runs, and close its pipes."""
        self._watchdog.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


Spawn = Callable[..., Process]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Return a function that starts a process, which ends with the test."""
    started: list[Process] = []

    def spawn(*arguments: str, **options: Any) -> Process:
        started.append(Process(*arguments, **options))
        return started[-1]

    yield spawn
    for process in started:
        process.end()


@dataclass
class Served:
    """A running server and the command line on its folder."""

    run: CommandLine
    url: str
    spawn: Spawn

    def start(self, *arguments: str) -> Process:
        """Return the process of a command on the data folder."""
        return self.spawn(*arguments, "--data-dir", str(self.run.data_dir))

    def listen(self, *arguments: str) -> Process:
        """Return a listener on the data folder's server, connected."""
        return self.connected("listen", *arguments, "--data-dir", str(self.run.data_dir))

    def connected(self, *arguments: str) -> Process:
        """Start a listener, wait until it is connected and return it."""
        process = self.spawn(*arguments)
        state = process.state()
        assert state.startswith("Connected to "), state
        return process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The data folder and the url of a server that a whole module shares."""
    data_dir = tmp_path_factory.mktemp("server")
    process = Process(
        *("serve", "--port", "0", "--json", "--data-dir", str(data_dir)),
        stderr=subprocess.DEVNULL,
        # It serves a whole module.
        patience=20 * PATIENCE,
    )
    try:
        yield data_dir, json.loads(process.line())["url"]
    finally:
        process.end()


@pytest.fixture
def served(server: tuple[Path, str], spawn: Spawn) -> Iterator[Served]:
    """The shared server with nobody but `ada`."""
    run = CommandLine(server[0])
    run.add()
    yield Served(run, server[1], spawn)
    for user in run.json("users", "list"):
        run("users", "delete", user["handle"], "--yes")
