"""The scripts that people and CI run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripts.clones import ROOT, give, write

pytestmark = pytest.mark.process

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
            "coverage",
            "fuzz",
            "mutants",
            "screenshots",
        )
    ),
]
AT_ONCE = "-m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder"

Tests = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_each_script_is_executable_and_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


def test_continuous_integration_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines == ["#!/bin/sh", 'exec "$(dirname -- "$0")/../scripts/test"']


def test_switchboard_uses_the_data_of_serve_from_any_folder(tmp_path: Path) -> None:
    """The server's data is not in the caller's folder."""
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
    give(path, "find", "cksum", "sort", "grep", "mkdir")
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


@pytest.fixture
def tests(clone: Path, path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs scripts/test of a clone in which each program only says with what it was started."""
    shutil.copy(ROOT / "scripts/test", clone / "scripts/test")
    (clone / "scripts/setup").unlink()
    for folder in (".venv/bin", "frontend/node_modules/.bin"):
        (clone / folder).mkdir(parents=True)
    write(clone / "scripts", "setup", 'echo setup "$@"')
    write(clone / "scripts", "check", "echo check")
    write(clone / "frontend/node_modules/.bin", "vitest", 'echo vitest "$@"')
    write(clone / ".venv/bin", "python", 'echo "$@"; case "$*" in *"$FAILING"*) exit 3 ;; esac')
    give(path, "sed")

    def run(
        *arguments: str, failing: str = "nothing", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [clone / "scripts/test", *arguments],
            cwd="/",
            env={"PATH": str(path), "FAILING": failing, **environment},
            capture_output=True,
            text=True,
        )

    return run


def test_test_alone_checks_and_tests_everything(tests: Tests) -> None:
    outcome = tests()
    assert outcome.stdout.splitlines() == ["check", "vitest run", AT_ONCE]
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_test_tries_the_trials_at_full_size_one_by_one_even_when_others_fail(tests: Tests) -> None:
    outcome = tests("--long", failing="not trial")
    assert outcome.stdout.splitlines() == [
        *("check", "vitest run", f"{AT_ONCE} --long -m not trial"),
        "-m pytest --long -m trial --durations 0 --durations-min 1",
    ]
    assert outcome.returncode == 3


@pytest.mark.parametrize("arguments", [(), ("--unit",), ("tests/auth",)])
def test_test_has_python_keep_what_it_compiled(
    tests: Tests, clone: Path, arguments: tuple[str, ...]
) -> None:
    write(clone / ".venv/bin", "python", 'echo "compiled for ${PYTHONDONTWRITEBYTECODE-all}"')
    told = tests(*arguments, PYTHONDONTWRITEBYTECODE="1").stdout
    assert told.splitlines()[-1] == "compiled for all"


def test_test_of_units_checks_nothing_else(tests: Tests) -> None:
    assert tests("--unit").stdout.splitlines() == ["setup dev", f"{AT_ONCE} --unit"]


@pytest.mark.parametrize(
    "arguments", [("tests/auth", "-k", "jwt"), ("--long", "tests/chaos"), ("--lnog",)]
)
def test_test_gives_any_other_arguments_to_pytest(tests: Tests, arguments: tuple[str, ...]) -> None:
    outcome = tests(*arguments, failing="--lnog")
    assert outcome.stdout.splitlines() == ["setup dev", f"-m pytest {' '.join(arguments)}"]
    assert outcome.returncode == (3 if arguments == ("--lnog",) else 0)


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_test_says_what_it_can_do(tests: Tests, word: str) -> None:
    outcome = tests(word)
    assert outcome.returncode == 0
    for way in ("scripts/test ", "scripts/test --long ", "scripts/test --unit ", "ARGUMENTS"):
        assert way in outcome.stdout
    assert "-m pytest --help" in outcome.stdout
    assert "#" not in outcome.stdout
