"""Runs a program of devices: writes commands to it, and reads its reports."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.faults.plan import Plan
from scripts.faults.server import ROOT


class ProgramFailed(Exception):
    """A program of devices ended, or made no report for too long; the text says which."""


class Program:
    """A running program, and the last report of each kind.

    `under` is the beginning of its command, another program that becomes it.
    """

    def __init__(self, module: str, plan: Plan, folder: Path, under: Sequence[str] = ()) -> None:
        path = folder / f"plan-{module.rpartition('.')[2]}"
        plan.write(path)
        self._name = module
        self._changed = threading.Condition()
        self._said: dict[str, dict[str, Any]] = {}
        self._ended = False
        self._process = subprocess.Popen(
            [*under, sys.executable, "-m", module, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    def tell(self, word: str) -> None:
        """Give it a command."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()

    def until(self, what: str, count: int = 0, seconds: float = 300) -> dict[str, Any]:
        """Wait for a report with at least this `count`, and return it.

        Raises ProgramFailed when none comes in so many seconds.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self._has(what, count) or self._ended, seconds)
            if not came or not self._has(what, count):
                why = "has ended" if self._ended else f"did not come to it in {seconds:.0f} s"
                told = f"; it said {self._said}" if self._said else ""
                raise ProgramFailed(f"{self._name} {why}: waited for {what!r} {count}{told}")
            return self._said[what]

    def _has(self, what: str, count: int) -> bool:
        return what in self._said and self._said[what].get("count", count) >= count

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            report = json.loads(line)
            with self._changed:
                self._said[report.pop("said")] = report
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
