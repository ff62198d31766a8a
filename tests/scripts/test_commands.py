"""The scripts that people and CI run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELL = [
    ROOT / ".ci/run",
    *(
        ROOT / "scripts" / name
        for name in ("setup", "serve", "check", "test", "lock", "bench", "chaos")
    ),
]

OLD_PYTHON = """#!/bin/sh
[ "$1" = --version ] && { echo Python 3.9.2; exit 0; }
exit 1
"""
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$2" in *ensurepip*) exit 1 ;; esac
exit 0
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, as far as scripts/setup sees it, in which nothing was installed."""
    folder = tmp_path / "a clone"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup", folder / "scripts/setup")
    for lock in ("requirements.lock", "requirements-dev.lock"):
        (folder / lock).write_text(f"# {lock}\n")
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with the shell's tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "dirname", "cat", "rm"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def setup(clone: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts/setup"],
        cwd="/",
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_each_script_is_executable_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


def test_continuous_integration_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines == ["#!/bin/sh", 'exec "$(dirname -- "$0")/../scripts/test"']


def test_setup_names_the_python_that_is_too_old(clone: Path, path: Path) -> None:
    (path / "python3").write_text(OLD_PYTHON)
    (path / "python3").chmod(0o755)
    outcome = setup(clone, path)
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "Switchboard needs Python 3.11 or newer; this machine has Python 3.9.2.\n"
    )


def test_setup_says_when_there_is_no_python(clone: Path, path: Path) -> None:
    outcome = setup(clone, path)
    assert outcome.returncode == 1
    assert "this machine has no Python 3." in outcome.stderr


def test_setup_says_how_to_get_the_venv_module(clone: Path, path: Path) -> None:
    (path / "python3").write_text(PYTHON_WITHOUT_VENV)
    (path / "python3").chmod(0o755)
    outcome = setup(clone, path)
    assert outcome.returncode == 1
    assert "apt install python3-venv" in outcome.stderr


def test_setup_installs_once_and_then_is_silent(clone: Path, path: Path) -> None:
    (path / "python3").symlink_to(sys.executable)
    first = setup(clone, path)
    assert (first.returncode, first.stdout) == (0, "")
    assert "Making .venv" in first.stderr
    second = setup(clone, path)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_setup_installs_again_when_the_lock_has_changed(clone: Path, path: Path) -> None:
    (path / "python3").symlink_to(sys.executable)
    setup(clone, path)
    (clone / "requirements.lock").write_text("# another\n")
    assert "Installing the dependencies" in setup(clone, path).stderr
    assert setup(clone, path).stderr == ""


def test_setup_makes_a_broken_environment_anew(clone: Path, path: Path) -> None:
    (path / "python3").symlink_to(sys.executable)
    setup(clone, path)
    (clone / ".venv/bin/python").unlink()
    assert "Making .venv" in setup(clone, path).stderr
