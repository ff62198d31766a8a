"""The outcome of a trial: the checker's verdict, the trial's own faults and facts."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.faults.server import ROOT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial found; `faults` are sentences about its own, beside the checker's."""

    facts: Mapping[str, str]
    faults: Sequence[str]
    checked: bool

    @property
    def good(self) -> bool:
        """Whether there was no fault."""
        return self.checked and not self.faults

    def show(self) -> None:
        """Print the facts, the faults and the verdict."""
        width = max(map(len, self.facts))
        for name, fact in self.facts.items():
            print(f"{name:<{width}}  {fact}")
        for fault in self.faults:
            print(f"! {fault}")
        print("\nEverything held." if self.good else "\nFAULTS WERE FOUND.", flush=True)


def run_checker(
    journals: Sequence[Path],
    expect: int | None = None,
    *,
    checker: str = "checker",
    removes: bool = False,
) -> bool:
    """Run the checker, which prints its table; return whether it found no fault."""
    wanted = ["--expect", str(expect)] if expect is not None else []
    wanted += ["--removes"] if removes else []
    command = [sys.executable, "-m", f"scripts.faults.{checker}", *wanted, *map(str, journals)]
    print(flush=True)
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    print(flush=True)
    return status == 0


def check_wrecked(journal: Path) -> str | None:
    """Have the checker judge the journal of a trial in which the database was destroyed.

    Return what it printed if it found a fault, else None.
    """
    command = [sys.executable, "-m", "scripts.faults.checker", "--wrecked", str(journal)]
    checked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return checked.stdout + checked.stderr if checked.returncode else None
