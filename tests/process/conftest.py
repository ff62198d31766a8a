"""Servers in processes of their own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CommandLine
from tests.process.server import ServerProcess

Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a server on this test's folder, where there is a user `ada`."""
    CommandLine(tmp_path / "data").add()
    with ExitStack() as stack:

        def start(**settings: Any) -> ServerProcess:
            server = ServerProcess(tmp_path, **settings)
            stack.callback(server.end)
            return server

        yield start
