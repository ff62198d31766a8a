"""Which tests reach which line, and so which ones to run for a mutant."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.mutation.mutants import Mutant

Traces = Any
"""What `running.trace` writes: `lines` by path and number, `seconds` by test, `failed` tests."""


@dataclass(slots=True)
class Reach:
    """What tests reach, as traced; and what each of them takes, in seconds of a processor."""

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def add(self, found: Traces) -> None:
        """Add what some tests reach; of those that were traced before, it takes the place."""
        self.forget(test.partition("::")[0] for test in found["seconds"])
        self.seconds |= found["seconds"]
        self.failed |= set(found["failed"])
        for path, lines in found["lines"].items():
            kept = self.lines.setdefault(path, {})
            for line, tests in lines.items():
                kept.setdefault(int(line), set()).update(tests)

    def forget(self, files: Iterable[str]) -> None:
        """Forget the tests in these files."""
        gone = set(files)
        known = {test for test in self.seconds if test.partition("::")[0] in gone}
        self.failed -= known
        for test in known:
            del self.seconds[test]
        for lines in self.lines.values():
            for tests in lines.values():
                tests -= known

    @classmethod
    def load(cls, file: Path) -> "Reach":
        """Return what was saved."""
        reach = cls()
        reach.add(json.loads(file.read_text()))
        return reach

    def save(self, file: Path) -> None:
        """Save it for later runs."""
        lines = {
            path: {line: sorted(tests) for line, tests in kept.items()}
            for path, kept in self.lines.items()
        }
        found = {"lines": lines, "seconds": self.seconds, "failed": sorted(self.failed)}
        file.write_text(json.dumps(found))

    def tests_of(self, mutant: Mutant, seconds: float) -> list[str]:
        """Return the tests to run, those of its own file first, then the quick ones.

        Together they take no more than `seconds`, but there is always one if any reaches it. For
        what runs when the module is imported, these are the tests that reach the module at all.
        """
        lines = self.lines.get(mutant.path, {})
        reached: set[str] = set()
        for line in range(mutant.first, mutant.last + 1):
            reached |= lines.get(line, set())
        if reached == {""} or (mutant.scope == "module" and not reached):
            reached = set().union(*lines.values())
        mirror = mirror_of(mutant.path)
        usable = reached & self.seconds.keys() - self.failed
        ordered = sorted(
            usable, key=lambda one: (not one.startswith(mirror), self.seconds[one], one)
        )
        chosen: list[str] = []
        left = seconds
        for one in ordered:
            left -= self.seconds[one]
            if left < 0 and chosen:
                break
            chosen.append(one)
        return chosen


def mirror_of(path: str) -> str:
    """Return the path of the tests of a file: tests/ mirrors app/."""
    folder, _, name = path.removeprefix("app/").rpartition("/")
    return f"tests/{folder}/test_{name}"


def digests(folders: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each Python file in these folders, by its path."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
    }


def outdated(before: dict[str, str], now: dict[str, str]) -> set[str] | None:
    """Return the test files that changed between these digests; None if all has to be traced.

    That is so when the code changed, or something that tests share.
    """
    changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
    if all(Path(path).name.startswith("test_") for path in changed):
        return changed
    return None
