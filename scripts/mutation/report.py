"""What came of the mutants: the numbers, and each survivor with the reason if it has one."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO

from scripts.mutation.mutants import Mutant

Verdict = Literal["killed", "ended", "survived", "unreached"]
"""`ended`: it ran into the limit of time or memory; `unreached`: no test runs its line."""

GOAL_PERCENT: Final = 85
NAMED: Final = Path(__file__).with_name("survivors.txt")


@dataclass(slots=True)
class Result:
    """A mutant and its verdict."""

    mutant: Mutant
    verdict: Verdict
    tests: int

    @property
    def alive(self) -> bool:
        """True if no test has seen it."""
        return self.verdict in ("survived", "unreached")


def note(result: Result, to: TextIO) -> None:
    """Append the result to a file of results."""
    mutant = result.mutant
    record = {"name": mutant.name, "verdict": result.verdict, "tests": result.tests}
    to.write(f"{json.dumps(record | {'line': mutant.line})}\n")
    to.flush()


def survivors_in(results: Path) -> set[str]:
    """Return the names of the mutants that survived in an earlier run."""
    records = [json.loads(line) for line in results.read_text().splitlines()]
    return {one["name"] for one in records if one["verdict"] in ("survived", "unreached")}


def named() -> dict[str, str]:
    """Return the survivors that are known, each with the reason why no test has to see it.

    In the file, a line with the reason and a colon comes before the mutants that it is about.
    """
    found: dict[str, str] = {}
    reason = ""
    for line in NAMED.read_text(encoding="utf-8").splitlines():
        if line.startswith("    "):
            found[line.strip()] = reason
        elif line and not line.startswith("#"):
            reason = line.removesuffix(":")
    return found


def show(results: list[Result]) -> bool:
    """Print what came of it; tell whether enough were killed and every survivor has a reason."""
    reasons = named()
    counts = Counter(result.verdict for result in results)
    dead = counts["killed"] + counts["ended"]
    percent = 100 * dead / len(results) if results else 0
    unknown = [one for one in results if one.alive and one.mutant.name not in reasons]
    for one in unknown:
        print(f"{one.verdict}: line {one.mutant.line}, {one.tests} tests: {one.mutant.name}")
    print(
        f"{len(results)} mutants: {counts['killed']} killed, {counts['ended']} ended, "
        f"{counts['survived']} survived, {counts['unreached']} unreached; {percent:.1f} % killed; "
        f"{len(unknown)} survivors without a reason"
    )
    return percent >= GOAL_PERCENT and not unknown
