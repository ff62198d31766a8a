"""Chromium, the built app, and servers in processes of their own."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from playwright.sync_api import Browser, sync_playwright

from tests.browser.profile import Profile
from tests.cli.conftest import PASSWORD, CommandLine
from tests.process.server import ServerProcess

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome")

LIFETIME = 3600
"""Seconds for which a module's server may run."""

# As root in a container there is neither a sandbox nor a graphics card; and nothing here is for
# the makers of the browser to know.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Commands(CommandLine):
    """Runs commands in another thread: in this one runs the loop that drives the browser."""

    def __call__(self, *arguments: str, stdin: str = "", status: int = 0) -> Result:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().__call__, *arguments, stdin=stdin, status=status).result()


StartServer = Callable[..., ServerProcess]
NewProfile = Callable[..., Profile]


@pytest.fixture(scope="session")
def built() -> None:
    """The app in frontend/dist is what its sources say."""
    subprocess.run([ROOT / "scripts/build"], check=True)


# Not for the session: while it is open no other loop runs in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module."""
    [path, *_] = filter(None, map(shutil.which, NAMES))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def start_server(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers with the user `ada`, an admin, each on a folder of its own unless told."""
    with ExitStack() as stack:

        def start(folder: Path | None = None, **settings: Any) -> ServerProcess:
            folder = folder or tmp_path_factory.mktemp("server")
            if not (folder / "data").exists():
                run = Commands(folder / "data")
                run("users", "add", "ada", "--admin", "--password-stdin", stdin=f"{PASSWORD}\n")
            server = ServerProcess(folder, lifetime=LIFETIME, **settings)
            server.run = Commands(server.data_dir)
            stack.callback(server.end)
            return server

        yield start


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> ServerProcess:
    """One server for those tests of a module that leave it as they found it."""
    return start_server()


@pytest.fixture
def profile(browser: Browser, request: pytest.FixtureRequest) -> Iterator[NewProfile]:
    """Makes profiles of the server; at the end nothing has gone wrong in any of their pages."""
    made: list[Profile] = []

    def profile(server: ServerProcess | None = None, **options: Any) -> Profile:
        server = server or request.getfixturevalue("server")
        made.append(Profile(browser, server.url, **options))
        return made[-1]

    yield profile
    for one in made:
        one.context.close()
    assert [one.faults for one in made if one.faults] == []
