"""The memory that a server takes: its own, and the kernel's for its sockets."""

import re
import resource
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from scripts.benchmark.process import memory

SAMPLE_SECONDS: Final = 0.2

_QUEUED = re.compile(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)")


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that a server's process holds, and that its sockets hold in the kernel."""

    process: int
    kernel: int

    @property
    def total(self) -> int:
        """Both."""
        return self.process + self.kernel


def taken(pid: int, port: int) -> Taken:
    """Return what is taken now by the server that listens on the port."""
    return Taken(memory(pid).rss, _kernel(port))


def _kernel(port: int) -> int:
    """Add up what the kernel holds for the server's connections; of the whole machine without ss.

    ss(8) tells of each socket what is allocated for receiving (r), sending (w) and ahead (f).
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
    # `t` is what of `w` the network card has not sent yet.
    return sum(int(r) + int(f) + int(w) for r, _, f, w in _QUEUED.findall(listing))


class Watch:
    """Notes the most that a server takes, from `with` to its end."""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def growth(self) -> int:
        """Bytes by which the most is above the first."""
        return self.most.total - self.first.total

    def _look(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            now = taken(self._pid, self._port)
            if now.total > self.most.total:
                self.most = now
