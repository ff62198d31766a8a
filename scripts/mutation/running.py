"""Runs pytest in forked processes: with the traces that say which test reaches what, or a mutant.

Libraries are imported before the fork, `app` and the tests after it.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import CodeType
from typing import Any, Final

import coverage
import pytest

LIBRARIES: Final = (
    "aiohttp.web",
    "aiosqlite",
    "alembic.command",
    "argon2",
    "cryptography.fernet",
    "jwt",
    "orjson",
    "prometheus_client",
    "pydantic_settings",
    "sqlalchemy.ext.asyncio",
    "uvloop",
    "websockets.asyncio.client",
)
"""What takes long to import and knows nothing of us."""

MEMORY_BYTES: Final = 4 << 30
"""Address space of a process; a mutant may never stop collecting."""

_FORK = multiprocessing.get_context("fork")
_PYTEST: Final = (
    "--quiet",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "--hypothesis-seed=0",
    "--unit",
)


@dataclass(slots=True)
class Job:
    """Something to be done in a process of its own, which is ended after so many seconds."""

    name: str
    work: Callable[[], int]
    cpu_seconds: float
    seconds: float


@dataclass(slots=True)
class _Running:
    job: Job
    process: BaseProcess
    deadline: float


def preload() -> None:
    """Import what all processes need, once."""
    for name in LIBRARIES:
        importlib.import_module(name)


def run(jobs: Iterable[Job], workers: int, log: Path) -> Iterator[tuple[Job, int | None]]:
    """Run the jobs, some at a time; yield each with its exit status, or None if it was ended.

    What they print goes to the file `log`.
    """
    waiting, running = iter(jobs), list[_Running]()
    try:
        while True:
            while len(running) < workers and (job := next(waiting, None)) is not None:
                process = _FORK.Process(target=_child, args=(job, log))
                process.start()
                running.append(_Running(job, process, time.monotonic() + job.seconds))
            if not running:
                return
            wait([one.process.sentinel for one in running], timeout=0.5)
            for one in [one for one in running if _is_over(one)]:
                running.remove(one)
                status = one.process.exitcode
                yield one.job, status if status is not None and status >= 0 else None
    finally:
        for one in running:
            _end(one)


def _is_over(one: _Running) -> bool:
    if one.process.is_alive():
        if time.monotonic() < one.deadline:
            return False
        _end(one)
    one.process.join()
    return True


def _end(one: _Running) -> None:
    pid = one.process.pid
    if pid is not None and one.process.is_alive():
        # With whatever its tests have started.
        os.killpg(pid, signal.SIGKILL)
    one.process.join()


def _child(job: Job, log: Path) -> None:
    os.setsid()
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    limit = int(job.cpu_seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    print(f"\n=== {job.name}", flush=True)
    status = job.work()
    sys.stdout.flush()
    # Threads and loops that a mutant left behind are not waited for.
    os._exit(status)


# A mutant


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads one module from a text instead of its file."""

    def __init__(self, name: str, path: str, text: bytes) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the text."""
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is loaded from a text."""

    def __init__(self, path: Path, text: bytes) -> None:
        self._name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        self._loader = _Loader(self._name, str(path.absolute()), text)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where the module is, if it is the one."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._loader.path, loader=self._loader
        )


def try_mutant(path: str, text: bytes, tests: Sequence[str]) -> int:
    """Run the tests with this text in the place of a file until one fails; return the status."""
    sys.meta_path.insert(0, _Finder(Path(path), text))
    return int(pytest.main([*_PYTEST, "--exitfirst", *tests]))


# Which test reaches what


class _Contexts:
    """Tells coverage which test runs, and measures its processor time."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin with a test."""
        self._coverage.switch_context(nodeid)
        self._begun = time.process_time()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note what failed: it can tell nothing about a mutant."""
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """End a test."""
        self.seconds[nodeid] = time.process_time() - self._begun
        self._coverage.switch_context("")


def trace(tests: Sequence[str], packages: Sequence[str], to: Path) -> int:
    """Run the tests and write to a file which lines of the packages each one reaches."""
    measure = coverage.Coverage(
        data_file=None,
        config_file=False,
        concurrency=["thread", "greenlet"],
        include=[f"{package}/*" for package in packages],
    )
    contexts = _Contexts(measure)
    measure.start()
    status = int(pytest.main([*_PYTEST, *tests], plugins=[contexts]))
    measure.stop()
    data = measure.get_data()
    here = Path.cwd()
    lines = {
        str(Path(file).relative_to(here)): data.contexts_by_lineno(file)
        for file in data.measured_files()
    }
    found = {"lines": lines, "seconds": contexts.seconds, "failed": sorted(contexts.failed)}
    to.write_text(json.dumps(found))
    return status
