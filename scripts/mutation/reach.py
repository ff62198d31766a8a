"""Which tests reach which line, and so which ones to run for a mutant."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.mutation.mutants import Mutant


@dataclass(slots=True)
class Reach:
    """What tests reach, as traced; and what each of them takes, in seconds of a processor."""

    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, files: Iterable[Path]) -> "Reach":
        """Return what is in these files, all together."""
        reach = cls()
        for file in files:
            found = json.loads(file.read_text())
            reach.seconds |= found["seconds"]
            reach.failed |= set(found["failed"])
            for path, lines in found["lines"].items():
                kept = reach.lines.setdefault(path, {})
                for line, tests in lines.items():
                    kept.setdefault(int(line), set()).update(tests)
        return reach

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
