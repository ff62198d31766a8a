"""Servers in processes of their own whose costs are counted."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from serving import PATIENCE
from websockets.sync.client import ClientConnection, connect

from scripts.benchmark import compiler
from scripts.benchmark.load import Load
from scripts.benchmark.ours import LIVE, Clients, Ours, by_header, ours
from scripts.benchmark.servers import Tools
from tests.costs.system_calls import system_calls
from tests.costs.timers import WatchedLoop

FEATURE = "tests.costs.census:Census"
NEVER = "3600"
"""Seconds between two pings: so long that there are none."""

CENSUSES = 8


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on uvloop, but for the loop that shows its timers."""
    if item.path.name == "test_timers.py":
        return {"watched": WatchedLoop}
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Examined:
    """A running server, its load generator, and a device that asks for a census."""

    server: Ours
    inspector: ClientConnection

    @property
    def load(self) -> Load:
        return self.server.load

    def census(self, what: str = "take", payload: Any = None) -> Counter[str]:
        """Return what the process holds, after the census has done this."""
        question = {"type": f"census.{what}", "payload": payload}
        self.inspector.send(json.dumps(question))
        return Counter(json.loads(self.inspector.recv(timeout=PATIENCE))["payload"])

    def settled(self) -> Counter[str]:
        """Return the census with the fewest blocks of some.

        Between two of them, a write to the database or a sweep of the deadlines may have begun.
        """
        return min((self.census() for _ in range(CENSUSES)), key=lambda one: one["blocks"])

    def calls_of(self, act: Callable[[], object]) -> Counter[str]:
        """Return the system calls that the server makes during the act."""
        with system_calls(self.server.pid, self.server.folder) as found:
            act()
        return found


def people(users: int, devices: int, instances: int = 1) -> Clients:
    """Return so many users with so many devices each, and one more user, who gets no messages."""

    def requests(tokens: Sequence[str], _cookie: Callable[[str], str]) -> list[str]:
        used = tokens[: users * devices]
        return [by_header(one, f"?instance=i{n}") for n in range(instances) for one in used]

    return Clients(users + 1, devices, requests, LIVE)


@contextmanager
def examined(tools: Tools, clients: Clients, **settings: str) -> Iterator[Examined]:
    """Run a server with these accounts; the last device of all is the inspector's."""
    with (
        ours(tools, clients, settings={"FEATURES": FEATURE, **settings}) as server,
        connect(
            f"ws://127.0.0.1:{server.port}/v1/ws",
            additional_headers={"Authorization": f"Bearer {server.tokens[-1]}"},
            compression=None,
            proxy=None,
            ping_interval=None,
        ) as inspector,
    ):
        inspector.recv(timeout=PATIENCE)
        yield Examined(server, inspector)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    folder = tmp_path_factory.mktemp("programs")
    floor, load = (compiler.compile_program(name, folder) for name in ("floor", "load"))
    return Tools(floor, load, folder)
