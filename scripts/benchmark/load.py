"""Drives one process of load.c, the load generator, by its commands."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.texts import KINDS, Kind


class LoadFailed(Exception):
    """The load generator could not do what it was told; the text says why."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one command did, as the generator saw it.

    `messages` counts those sent; for `open`, those received before WELCOME.
    """

    operations: int
    messages: int
    seconds: float
    cpu_seconds: float
    bytes: int
    p50_us: float
    p99_us: float
    p999_us: float
    max_us: float


@dataclass(frozen=True, slots=True)
class Speech:
    """How to talk to a server: the messages, and a text in the frame that ends the opening.

    `hello` answers the first frame of a server that speaks Engine.IO.
    """

    kinds: Sequence[Kind] = KINDS
    welcome: str = ""
    hello: str = ""


PLAIN = Speech()


def request(path: str, headers: Sequence[str] = ()) -> str:
    """Return a WebSocket upgrade request."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


class Load:
    """A running load generator; its connection i sends the i-th upgrade request."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        port: int,
        requests: Sequence[str],
        speech: Speech = PLAIN,
    ) -> None:
        place = Path(tempfile.mkdtemp(prefix="load-", dir=folder))
        (place / "requests").write_bytes("".join(requests).encode())
        (place / "kinds").write_text("".join(kind.line() for kind in speech.kinds))
        files = [place / "requests", place / "kinds"]
        self._process = subprocess.Popen(
            [program, str(port), *files, speech.hello, speech.welcome],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, first: int, count: int, at_once: int = 32) -> Phase:
        """Upgrade `count` connections, `at_once` of them at a time."""
        return self._do(f"open {first} {count} {at_once}")

    def play(
        self,
        name: str,
        rounds: int,
        *,
        size: int = 0,
        groups: int = 1,
        burst: int = 1,
        per_second: float = 0,
    ) -> Phase:
        """Send `rounds` of messages of the kinds `name` in each group, and wait for their delivery.

        The open connections form groups of `size`; 0 makes one group of all. A member writes
        `burst` messages at once. With `per_second`, so many rounds of all groups begin in a second,
        and a latency counts from the time at which its round was due.
        """
        return self._do(f"play {name} {rounds} {size} {groups} {burst} {round(per_second)}")

    def fanout(self, rounds: int, burst: int = 1) -> Phase:
        """Send `rounds` of messages to every open connection."""
        return self.play("fanout", rounds, burst=burst)

    def echo(self, count: int, connections: int) -> Phase:
        """Send `count` pings on each of the first `connections`, each after the last answer."""
        return self.play("echo", count, size=1, groups=connections)

    def stall(self, count: int) -> Phase:
        """Stop reading on the last `count` open connections."""
        return self._do(f"stall {count}")

    def hold(self, seconds: float) -> Phase:
        """Only answer the server's pings, for so many seconds."""
        return self._do(f"hold {round(seconds * 1000)}")

    def close(self) -> Phase:
        """Close every open connection."""
        return self._do("close")

    def stop(self) -> None:
        """End the process, and with it its connections."""
        self._process.communicate()

    def _do(self, command: str) -> Phase:
        pipes = self._process
        if pipes.stdin is None or pipes.stdout is None:
            raise LoadFailed("the load generator has no pipes")
        pipes.stdin.write(command + "\n")
        pipes.stdin.flush()
        line = pipes.stdout.readline()
        answer = json.loads(line or '{"error": "the load generator ended"}')
        if "error" in answer:
            raise LoadFailed(f"{command}: {answer['error']}")
        return Phase(**answer)
