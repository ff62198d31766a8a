"""The options of pytest that are our own: --unit and --long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.clones import ROOT

pytestmark = pytest.mark.process

SAMPLE = """
import subprocess
import sys

import pytest
from hypothesis import settings
from tests.effort import examples


def test_that_starts_a_process():
    subprocess.run([sys.executable, "--version"])


@pytest.mark.process
def test_that_says_so():
    subprocess.run([sys.executable, "--version"])


def test_that_tells_how_much_is_tried(long):
    assert (long, settings.default.max_examples, examples(30)) == (False, 100, 30)
"""


def run(folder: Path, *options: str) -> str:
    """Return the end of what pytest says about the sample."""
    (folder / "test_sample.py").write_text(SAMPLE)
    outcome = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-c", ROOT / "setup.cfg", "-p", "tests.conftest", *options, folder),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return outcome.stdout


def test_every_test_runs_without_options(tmp_path: Path) -> None:
    assert "3 passed" in run(tmp_path)


def test_of_the_units_one_that_starts_a_process_fails_unless_it_is_marked(tmp_path: Path) -> None:
    told = run(tmp_path, "--unit")
    assert "this test starts a process: it needs @pytest.mark.process" in told
    assert "1 failed, 1 passed, 1 deselected" in told


def test_long_tries_more(tmp_path: Path) -> None:
    assert "assert (True, 2000, 600) == (False, 100, 30)" in run(tmp_path, "--long")


def test_there_is_one_worker_more_than_processors(pytestconfig: pytest.Config) -> None:
    workers = pytestconfig.hook.pytest_xdist_auto_num_workers(config=pytestconfig)
    assert workers == 1 + (os.cpu_count() or 1)


def test_no_test_of_a_folder_of_processes_is_a_unit() -> None:
    folders = [f"tests/{name}" for name in ("browser", "chaos", "process")]
    outcome = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "--unit", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "no tests collected" in outcome.stdout, outcome.stdout
