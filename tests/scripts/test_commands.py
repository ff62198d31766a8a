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
        for name in (
            "setup",
            "build",
            "serve",
            "check",
            "test",
            "lock",
            "bench",
            "chaos",
            "screenshots",
        )
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


def test_switchboard_uses_the_data_of_serve_from_any_folder(tmp_path: Path) -> None:
    """What a caller's folder has in it is no data of the server."""
    outcome = subprocess.run(
        [ROOT / "scripts/switchboard", "config", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert str(ROOT / "data") in outcome.stdout
    assert list(tmp_path.iterdir()) == []


def test_another_python_is_told_where_the_right_one_is() -> None:
    outcome = subprocess.run(
        [sys.executable, "-S", "-m", "app", "version"], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 1
    assert "./scripts/switchboard" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def write(path: Path, name: str, script: str) -> None:
    """There is a program of this name, which does this."""
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def web_setup(clone: Path, path: Path, what: str) -> subprocess.CompletedProcess[str]:
    (clone / "frontend").mkdir(exist_ok=True)
    (clone / "frontend/package-lock.json").write_text("{}")
    return subprocess.run(
        [clone / "scripts/setup", what],
        cwd="/",
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
    )


def test_setup_says_how_to_get_node(clone: Path, path: Path) -> None:
    outcome = web_setup(clone, path, "web")
    assert outcome.returncode == 1
    assert "needs Node 20.19 or newer with npm" in outcome.stderr
    assert "apt install nodejs npm" in outcome.stderr


def test_setup_names_the_node_that_is_too_old(clone: Path, path: Path) -> None:
    write(path, "node", '[ "$1" = --version ] && echo v18.20.4 && exit 0; exit 1')
    write(path, "npm", "exit 0")
    outcome = web_setup(clone, path, "web")
    assert outcome.returncode == 1
    assert "this machine has Node v18.20.4." in outcome.stderr


def test_setup_installs_the_web_tools_once_and_then_is_silent(clone: Path, path: Path) -> None:
    write(path, "node", "exit 0")
    write(path, "npm", 'mkdir -p node_modules; echo "$@" >>node_modules/calls')
    for tool in ("cksum", "mkdir"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    first = web_setup(clone, path, "web")
    assert first.returncode == 0, first.stderr
    assert "Installing the dependencies in frontend/package-lock.json" in first.stderr
    second = web_setup(clone, path, "web")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    [call] = (clone / "frontend/node_modules/calls").read_text().splitlines()
    assert call.startswith("ci ")


@pytest.mark.parametrize("user", ["0", "1000"])
def test_setup_for_the_tests_gets_what_is_missing_or_says_how(
    clone: Path, path: Path, user: str
) -> None:
    (path / "python3").symlink_to(sys.executable)
    write(path, "node", "exit 0")
    write(path, "npm", "mkdir -p node_modules")
    write(path, "id", f"echo {user}")
    write(path, "apt-get", 'echo "$@" >>"$HOME/calls"')
    write(path, "cc", "exit 0")
    write(path, "uname", "echo Linux")
    for tool in ("cksum", "mkdir"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    outcome = web_setup(clone, path, "dev")
    if user == "0":
        assert outcome.returncode == 0, outcome.stderr
        assert (path / "calls").read_text().splitlines()[-1].endswith(" strace chromium")
    else:
        assert outcome.returncode == 1
        assert "apt install strace chromium" in outcome.stderr


def serve(clone: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run scripts/serve of a clone in which the server only says with what it was started."""
    shutil.copy(ROOT / "scripts/serve", clone / "scripts/serve")
    (clone / "scripts/setup").unlink()
    write(clone / "scripts", "setup", "exit 0")
    (clone / ".venv/bin").mkdir(parents=True)
    write(clone / ".venv/bin", "python", 'echo "$@"')
    return subprocess.run(
        [clone / "scripts/serve", "--port", "1"],
        cwd="/",
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
    )


def test_serve_serves_without_node_and_builds_nothing(clone: Path, path: Path) -> None:
    write(clone / "scripts", "build", "echo building >&2; exit 1")
    outcome = serve(clone, path)
    assert (outcome.stdout, outcome.stderr) == ("-m app serve --port 1\n", "")


def test_serve_serves_also_when_the_build_fails(clone: Path, path: Path) -> None:
    write(clone / "scripts", "build", "echo 'It is broken.' >&2; exit 1")
    for tool in ("node", "npm"):
        write(path, tool, "exit 0")
    outcome = serve(clone, path)
    assert outcome.stdout == "-m app serve --port 1\n"
    assert outcome.stderr == "It is broken.\nThe server starts all the same.\n"


@pytest.fixture
def app(clone: Path, path: Path) -> Path:
    """A clone with a web app whose build tool writes the index and counts its calls."""
    shutil.copy(ROOT / "scripts/build", clone / "scripts/build")
    (clone / "scripts/setup").unlink()
    write(clone / "scripts", "setup", "exit 0")
    for folder in ("src", "node_modules/.bin"):
        (clone / "frontend" / folder).mkdir(parents=True)
    (clone / "frontend/src/main.js").write_text("one\n")
    write(
        clone / "frontend/node_modules/.bin",
        "vite",
        'echo "$@" >>calls; grep -q broken src/main.js && echo "No such thing." && exit 1\n'
        "rm -rf dist; mkdir dist; echo built >dist/index.html",
    )
    for tool in ("find", "cksum", "sort", "grep", "mkdir"):
        (path / tool).symlink_to(str(shutil.which(tool)))
    return clone / "frontend"


def build(app: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [app.parent / "scripts/build"],
        cwd="/",
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
    )


def test_build_builds_when_a_source_has_changed_and_else_is_silent(app: Path, path: Path) -> None:
    first = build(app, path)
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert "Building the web app" in first.stderr
    assert build(app, path).stderr == ""
    (app / "src/main.js").write_text("two\n")
    assert "Building the web app" in build(app, path).stderr
    shutil.rmtree(app / "dist")
    assert "Building the web app" in build(app, path).stderr
    assert len((app / "calls").read_text().splitlines()) == 3


def test_a_build_that_fails_says_why_and_is_tried_again(app: Path, path: Path) -> None:
    (app / "src/main.js").write_text("broken\n")
    for _ in range(2):
        outcome = build(app, path)
        assert outcome.returncode == 1
        assert "No such thing." in outcome.stderr
        assert outcome.stderr.endswith("The web app could not be built.\n")
