"""scripts/setup: what it installs, and what it says where it can't."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.clones import give, make_clone, make_path, write

pytestmark = pytest.mark.process

OLD_PYTHON = """#!/bin/sh
[ "$1" = --version ] && { echo Python 3.9.2; exit 0; }
exit 1
"""
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$2" in *ensurepip*) exit 1 ;; esac
exit 0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which scripts/setup has run once, and what it said; making .venv takes seconds."""
    folder = tmp_path_factory.mktemp("made")
    path = make_path(folder / "bin")
    (path / "python3").symlink_to(sys.executable)
    clone = make_clone(folder / "a clone")
    outcome = setup(clone, path)
    assert (outcome.returncode, outcome.stdout) == (0, "")
    return clone, outcome.stderr


@pytest.fixture
def installed(made: tuple[Path, str], clone: Path, path: Path) -> Path:
    """A clone in which everything is installed."""
    (path / "python3").symlink_to(sys.executable)
    shutil.copytree(made[0] / ".venv", clone / ".venv", symlinks=True)
    return clone


def setup(clone: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts/setup"],
        cwd="/",
        env={"PATH": str(path), "HOME": str(path)},
        capture_output=True,
        text=True,
    )


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


def test_setup_installs_once_and_then_is_silent(
    made: tuple[Path, str], installed: Path, path: Path
) -> None:
    assert "Making .venv" in made[1]
    again = setup(installed, path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_setup_installs_again_when_the_lock_has_changed(installed: Path, path: Path) -> None:
    (installed / "requirements.lock").write_text("# another\n")
    assert "Installing the dependencies" in setup(installed, path).stderr
    assert setup(installed, path).stderr == ""


def test_setup_makes_a_broken_environment_anew(installed: Path, path: Path) -> None:
    (installed / ".venv/bin/python").unlink()
    assert "Making .venv" in setup(installed, path).stderr


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
    give(path, "cksum", "mkdir")
    first = web_setup(clone, path, "web")
    assert first.returncode == 0, first.stderr
    assert "Installing the dependencies in frontend/package-lock.json" in first.stderr
    second = web_setup(clone, path, "web")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    [call] = (clone / "frontend/node_modules/calls").read_text().splitlines()
    assert call.startswith("ci ")


@pytest.mark.parametrize("user", ["0", "1000"])
def test_setup_for_the_tests_gets_what_is_missing_or_says_how(
    installed: Path, path: Path, user: str
) -> None:
    write(path, "node", "exit 0")
    write(path, "npm", "mkdir -p node_modules")
    write(path, "id", f"echo {user}")
    write(path, "apt-get", 'echo "$@" >>"$HOME/calls"')
    write(path, "cc", "exit 0")
    write(path, "uname", "echo Linux")
    give(path, "cksum", "mkdir")
    outcome = web_setup(installed, path, "dev")
    if user == "0":
        assert outcome.returncode == 0, outcome.stderr
        assert (
            (path / "calls").read_text().splitlines()[-1].endswith(" strace iproute2 curl chromium")
        )
    else:
        assert outcome.returncode == 1
        assert "apt install strace iproute2 curl chromium" in outcome.stderr


PACKAGE = """case $1 in
download) for package; do :; done; echo >"${package}_1.deb" ;;
install) echo "$@" >>"$HOME/installed" ;;
esac"""
EXTRACTED = """[ "$1" = --extract ] || exit 0
mkdir -p "$3/usr/bin" "$3/usr/sbin"
for program in usr/bin/promtool usr/sbin/nginx usr/bin/caddy; do
    printf '#!/bin/sh\\nexit %s\\n' "$STATUS" >"$3/$program"
    chmod +x "$3/$program"
done"""


@pytest.mark.parametrize("status", [0, 1], ids=["runs", "does not run"])
def test_setup_takes_what_judges_deploy_out_of_packages_and_installs_none(
    installed: Path, path: Path, status: int
) -> None:
    write(path, "node", "exit 0")
    write(path, "npm", "mkdir -p node_modules")
    write(path, "id", "echo 0")
    write(path, "apt-get", PACKAGE)
    write(path, "dpkg-deb", EXTRACTED.replace("$STATUS", str(status)))
    for there in ("strace", "ip", "curl", "cc", "chromium"):
        write(path, there, "exit 0")
    write(path, "uname", "echo Linux")
    give(path, "cksum", "mkdir", "mktemp", "cp", "mv", "chmod", "tr", "sed")
    outcome = web_setup(installed, path, "dev")
    assert outcome.returncode == 0, outcome.stderr
    for name in ("promtool", "nginx", "caddy"):
        assert f"Fetching {name} …" in outcome.stderr
        assert (installed / ".venv/bin" / name).exists() == (status == 0)
        told = f"Without {name}: the tests that need it are skipped." in outcome.stderr
        assert told == (status != 0)
    calls = path / "installed"
    assert not calls.exists() or "nginx" not in calls.read_text()
    if status == 0:
        assert web_setup(installed, path, "dev").stderr == ""
