"""Counts the system calls of a process with strace."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def system_calls(pid: int, folder: Path) -> Iterator[Counter[str]]:
    """Count the calls of all threads of the process inside of the block; fill the count at its end.

    The last call or two may be missing: a peer has the bytes before the call has returned.
    """
    report = folder / f"calls-of-{pid}"
    found: Counter[str] = Counter()
    command = ["strace", "-f", "-c", "-U", "calls,name", "-o", str(report), "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        # Said when it is attached to every thread.
        said = strace.stderr.readline()
        try:
            assert "attached" in said, said
            yield found
        finally:
            strace.send_signal(signal.SIGINT)
            strace.communicate()
    found.update(_read(report.read_text()))


def others(found: Counter[str]) -> int:
    """Return how many neither read nor wrote.

    Without what threads that wait for the interpreter do: they look at the clock.
    """
    return found.total() - found["read"] - found["write"] - found["futex"]


def _read(report: str) -> dict[str, int]:
    """Return the count of each name in lines like `  100 write`."""
    rows = [line.split() for line in report.splitlines()]
    return {
        row[1]: int(row[0])
        for row in rows
        if len(row) == 2 and row[0].isdigit() and row[1] != "total"
    }
