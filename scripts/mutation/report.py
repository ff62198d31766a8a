"""What came of the mutants: the numbers, and each survivor with the reason if it has one."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO, TypedDict

from scripts.mutation.mutants import Mutant

Verdict = Literal["killed", "ended", "survived", "unreached"]
"""`ended`: it ran into the limit of time or memory; `unreached`: no test runs its line."""

GOAL_PERCENT: Final = 85

EQUIVALENT: Final = "Equivalent"
"""Begins the reason of mutants that no test could see."""

NAMED: Final = Path(__file__).with_name("survivors.txt")


class Record(TypedDict):
    """A line of a file of results."""

    name: str
    line: int
    verdict: Verdict
    tests: int


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


def read_results(file: Path) -> dict[tuple[str, int], Record]:
    """Return what is in a file of results, by name and line; of several the last one counts."""
    if not file.exists():
        return {}
    records: list[Record] = [json.loads(line) for line in file.read_text().splitlines()]
    return {(one["name"], one["line"]): one for one in records}


def survivors_in(file: Path) -> set[str]:
    """Return the names of the mutants that survived when they were last tried."""
    records = read_results(file).values()
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
    alive = [one for one in results if one.alive]
    unknown = [one for one in alive if one.mutant.name not in reasons]
    equivalent = sum(reasons.get(one.mutant.name, "").startswith(EQUIVALENT) for one in alive)
    for one in unknown:
        print(f"{one.verdict}: line {one.mutant.line}, {one.tests} tests: {one.mutant.name}")
    print(
        f"{len(results)} mutants: {counts['killed']} killed, {counts['ended']} ended, "
        f"{counts['survived']} survived, {counts['unreached']} unreached; {percent:.1f} % killed; "
        f"of {len(alive)} survivors, {equivalent} equivalent, {len(unknown)} without a reason"
    )
    return percent >= GOAL_PERCENT and not unknown
