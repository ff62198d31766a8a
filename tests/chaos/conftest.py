"""scripts/chaos as people run it: in small sizes, and with --long in its own."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_FAULTS = re.compile(
    r"lost +0 .*doubled +0 .*out of order +0 .*foreign +0 .*reset +0 .*refused +0 .*unfinished +0 ",
    re.DOTALL,
)


@dataclass(frozen=True)
class Told:
    """What a trial printed."""

    text: str

    def count(self, name: str) -> int:
        """Return the number beside this name."""
        found = re.search(rf"^{re.escape(name)} +([\d,]+)", self.text, re.MULTILINE)
        assert found, f"no {name!r} in {self.text}"
        return int(found[1].replace(",", ""))


Chaos = Callable[..., Told]


@pytest.fixture
def chaos(disk: Path) -> Chaos:
    """Return a function that runs a trial, which must hold, and returns what it printed.

    A trial that keeps no journals is not `checked` by the checker.
    """

    def chaos(trial: str, *, checked: bool = True, **options: object) -> Told:
        words = [
            word
            for name, value in options.items()
            for word in (f"--{name.replace('_', '-')}", *([] if value is True else [str(value)]))
        ]
        outcome = subprocess.run(
            [sys.executable, "-m", "scripts.faults", trial, *words, "--keep", disk / "kept"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        if checked:
            assert NO_FAULTS.search(outcome.stdout), outcome.stdout
        return Told(outcome.stdout)

    return chaos
