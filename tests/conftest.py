"""What all tests share: the event loop, the place of their files, and how much they try."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import uvloop

from tests.effort import set_effort

HERE: Final = Path(__file__).parent
SOCKETS: Final = HERE / "sockets"

PROCESSES: Final = tuple(HERE / name for name in ("browser", "chaos", "process"))
"""Folders of which every test starts a process; elsewhere these tests have the mark themselves."""

MEMORY: Final = Path("/dev/shm")
MEMORY_BYTES: Final = 2 << 30
"""What must be free there; all workers together take about 100 MB at a time."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("Switchboard")
    group.addoption(
        "--long", action="store_true", help="the trials at full size, and many more examples"
    )
    group.addoption(
        "--unit", action="store_true", help="only what starts neither a process nor a browser"
    )


def pytest_configure(config: pytest.Config) -> None:
    set_effort(long=config.option.long)
    if _memory_will_do():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Have a worker more than processors where trials run, which mostly wait."""
    return None if config.option.unit else 1 + (os.cpu_count() or 1)


def _memory_will_do() -> bool:
    """Tell whether temporary files can be in memory: they are synced thousands of times."""
    try:
        found = os.statvfs(MEMORY)
    except (AttributeError, OSError):
        return False
    # The compiled programs of the benchmark are run from there.
    runs_programs = not found.f_flag & os.ST_NOEXEC
    return runs_programs and found.f_bavail * found.f_frsize > MEMORY_BYTES


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if any(folder in item.path.parents for folder in PROCESSES):
            item.add_marker("process")
    if config.option.unit:
        left_out = [item for item in items if item.get_closest_marker("process")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def no_process(pytestconfig: pytest.Config) -> None:
    """With --unit a test fails that starts a process and does not have the mark."""
    if pytestconfig.option.unit:
        sys.addaudithook(refuse_processes)


def refuse_processes(event: str, _arguments: object) -> None:
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "os.system"):
        raise AssertionError("this test starts a process: it needs @pytest.mark.process")


@pytest.fixture
def long(pytestconfig: pytest.Config) -> bool:
    """Whether trials are run at full size."""
    return bool(pytestconfig.option.long)


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk, where a sync takes its time; `tmp_path` may be in memory."""
    with tempfile.TemporaryDirectory(prefix="switchboard-tests-") as folder:
        yield Path(folder)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run everything on uvloop, as the server does, and what concerns sockets on both loops."""
    if SOCKETS in item.path.parents:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
