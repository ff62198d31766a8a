"""The memory of a server: its process's own, and the kernel's for its sockets."""

import re
import resource
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.benchmark.process import memory

SAMPLE_SECONDS: Final = 0.2

_QUEUED = re.compile(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)")


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes of a server's process, and of its sockets in the kernel."""

    process: int
    kernel: int

    @property
    def total(self) -> int:
        """The sum of both, in bytes."""
        return self.process + self.kernel


def taken(pid: int, port: int) -> Taken:
    """Return what the server that listens on the port takes now."""
    return Taken(memory(pid).rss, _kernel(port))


def _kernel(port: int) -> int:
    """Return what the kernel holds for the server's sockets; without ss(8), for all of the machine.

    ss tells for each socket how much is allocated for receiving (r), sending (w) and ahead (f).
    """
    try:
        listing = subprocess.run(
            ["ss", "-tmnOH", "sport", "=", f":{port}"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:
        words = Path("/proc/net/sockstat").read_text().split("TCP:")[1].split()
        return int(words[words.index("mem") + 1]) * resource.getpagesize()
    # `t`, which the network card has not sent yet, is part of `w`.
    return sum(int(r) + int(f) + int(w) for r, _, f, w in _QUEUED.findall(listing))


class Watch:
    """Samples what a server takes until the block ends, and keeps the first and the highest."""

    def __init__(self, pid: int, port: int) -> None:
        self.first = taken(pid, port)
        self.most = self.first
        self._pid = pid
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """The highest less the first, in bytes."""
        return self.most.total - self.first.total

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            now = taken(self._pid, self._port)
            if now.total > self.most.total:
                self.most = now
