"""The load generator's handle: one process of load.c, driven by commands."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.benchmark.texts import PING, TRIGGER


class LoadFailed(Exception):
    """The load generator could not do what it was told; says why."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What one command did, as the generator saw it."""

    operations: int
    seconds: float
    cpu_seconds: float
    bytes: int
    p50_us: float
    p99_us: float
    max_us: float


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
    """A running load generator whose connection i sends the i-th of the requests."""

    def __init__(
        self,
        program: Path,
        folder: Path,
        port: int,
        greetings: int,
        requests: Sequence[str],
        *,
        ping: str = PING,
    ) -> None:
        script = folder / f"requests-{port}"
        script.write_bytes("".join(requests).encode())
        self._process = subprocess.Popen(
            [program, str(port), str(greetings), TRIGGER, ping, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, first: int, count: int, at_once: int = 32) -> Phase:
        """Upgrade `count` connections, `at_once` of them at a time."""
        return self._do(f"open {first} {count} {at_once}")

    def fanout(self, rounds: int, window: int = 1) -> Phase:
        """Have `rounds` messages delivered to every open connection."""
        return self._do(f"fanout {rounds} {window}")

    def echo(self, count: int, connections: int) -> Phase:
        """Have `count` pings of each of the first `connections` answered, one by one."""
        return self._do(f"echo {count} {connections}")

    def hold(self, seconds: float) -> Phase:
        """Do nothing but answer the server's pings."""
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
