"""The import contract of setup.cfg holds, and would not if it were broken."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def contract(name: str, option: str) -> list[str]:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    return config[f"importlinter:contract:{name}"][option].split()


BREACHES = [
    ("auth/tokens.py", "import app.node.node", "app.auth is not allowed to import app.node"),
    ("web/pages.py", "import app.websocket.handler", "app.web is not allowed to import app.websoc"),
    ("storage/users.py", "import app.auth.tokens", "app.storage is not allowed to import app.auth"),
    ("node/node.py", "import aiohttp.web", "app.node is not allowed to import aiohttp"),
    ("auth/tokens.py", "import aiohttp", "app.auth is not allowed to import aiohttp"),
    ("protocol/messages.py", "import asyncio", "app.protocol is not allowed to import asyncio"),
    ("protocol/close.py", "import logging", "app.protocol is not allowed to import logging"),
    ("extra.py", "", "The following modules are not listed as layers"),
]


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What lint-imports says about a copy of app/ that has every breach."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "setup.cfg", copy)
    shutil.copytree(ROOT / "app", copy / "app")
    for file, statement, _ in BREACHES:
        with (copy / "app" / file).open("a") as module:
            module.write(f"\n{statement}\n")
    outcome = lint(copy)
    assert outcome.returncode == 1
    return outcome.stdout


def test_the_contract_holds() -> None:
    outcome = lint(ROOT)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize("complaint", [breach[-1] for breach in BREACHES])
def test_a_breach_is_found(complaints: str, complaint: str) -> None:
    assert complaint in complaints


def test_every_package_is_at_the_edge_or_kept_from_it() -> None:
    edge = {"application", "server", "web", "websocket", "control", "listen", "requests", "keys"}
    kept = contract("edge", "source_modules")
    for package in (ROOT / "app").iterdir():
        if package.stem not in edge | {"__init__", "__pycache__"}:
            assert f"app.{package.stem}" in kept


def test_packages_are_named_whole() -> None:
    # A contract that lists single files of a package hides what the package is.
    layers = {word.strip("()") for word in contract("layers", "layers")}
    assert not [word for word in layers if "." in word]


def test_the_server_knows_nothing_of_its_benchmark() -> None:
    for path in (ROOT / "app").rglob("*.py"):
        assert "benchmark" not in path.read_text().lower(), path
