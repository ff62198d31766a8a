"""scripts/mutants: breaks the code in small ways and tells which of them no test sees.

A sample of all mutants, drawn with the seed, is tried one by one. First all tests run once, traced,
so that a mutant has to face only those that reach its line, its own file's first. The files are
never changed. The exit status is 0 if 85 % were killed and every survivor has its reason in
scripts/mutation/survivors.txt. It needs Linux, and two seconds of a processor for each mutant.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from scripts.mutation.mutants import Mutant, all_mutants
from scripts.mutation.reach import Reach
from scripts.mutation.report import Result, Verdict, note, show, survivors_in
from scripts.mutation.running import Job, preload, run, trace, try_mutant

PACKAGES: Final = ("app/protocol", "app/streams", "app/auth")
TESTS: Final = (
    *("tests/streams", "tests/web", "tests/node"),
    *("tests/sockets", "tests/auth", "tests/protocol", "tests/contracts", "tests/features"),
    *("tests/storage", "tests/requests", "tests/publishing"),
)
TRACE_SECONDS: Final = 3600
PATIENCE: Final = 60
"""Seconds of the clock that a test may take beyond ten times its own: other work may go on."""


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--count", type=int, default=400, help="mutants in the sample")
    parser.add_argument("--packages", nargs="+", default=list(PACKAGES), metavar="FOLDER")
    parser.add_argument("--tests", nargs="+", default=list(TESTS), metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument(
        "--seconds", type=float, default=15, help="of the processor, for the tests of one mutant"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="append each result there")
    parser.add_argument(
        "--reach",
        type=Path,
        metavar="FOLDER",
        help="keep the traces there, or take them if they are there: while neither code nor tests "
        "change",
    )
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="only what survived in these results"
    )
    return parser.parse_args(arguments)


def _sources(packages: Sequence[str]) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for package in packages for path in Path(package).rglob("*.py")
    }


def _trace(options: argparse.Namespace, folder: Path) -> Reach:
    """Run all tests once; each process takes some of the folders."""
    shares = [options.tests[at :: options.workers] for at in range(options.workers)]
    kept = options.reach or folder
    kept.mkdir(parents=True, exist_ok=True)
    files = [kept / f"reach-{at}" for at in range(len(shares))]
    if all(file.exists() for file in files):
        return Reach.read(files)
    jobs = [
        Job(f"trace {at}", partial(trace, share, options.packages, file), TRACE_SECONDS, 3600)
        for at, (share, file) in enumerate(zip(shares, files, strict=True))
        if share
    ]
    for job, status in run(jobs, options.workers, folder / "log"):
        if status not in (0, 1):
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            sys.exit(f"scripts/mutants: {job.name} ended with {status}")
    reach = Reach.read(file for file in files if file.exists())
    print(
        f"{len(reach.seconds)} tests traced; {len(reach.failed)} failed and are left out",
        flush=True,
    )
    return reach


def _sample(options: argparse.Namespace, sources: dict[str, bytes]) -> list[Mutant]:
    found = list(all_mutants(sources))
    if options.again is not None:
        names = survivors_in(options.again)
        return [one for one in found if one.name in names]
    # So that a smaller sample of the same seed is the beginning of a larger one.
    random.Random(options.seed).shuffle(found)
    chosen = found[: options.count]
    print(f"{len(chosen)} of {len(found)} mutants, seed {options.seed}", flush=True)
    return chosen


def _try(
    options: argparse.Namespace,
    sample: Sequence[Mutant],
    sources: dict[str, bytes],
    reach: Reach,
    folder: Path,
) -> Iterator[Result]:
    chosen = {str(at): reach.tests_of(one, options.seconds) for at, one in enumerate(sample)}
    jobs: list[Job] = []
    for name, tests in chosen.items():
        mutant = sample[int(name)]
        source = sources[mutant.path]
        expected = sum(reach.seconds[test] for test in tests)
        if not tests:
            yield Result(mutant, "unreached", 0)
            continue
        work = partial(try_mutant, mutant.path, mutant.apply(source), tests)
        jobs.append(Job(name, work, 20 + 4 * expected, PATIENCE + 10 * expected))
    for job, status in run(jobs, options.workers, folder / "log"):
        verdict: Verdict = "ended" if status is None else "killed" if status else "survived"
        yield Result(sample[int(job.name)], verdict, len(chosen[job.name]))


def _control(sources: dict[str, bytes], reach: Reach, folder: Path) -> None:
    """Check that tests pass by the way in which mutants are tried; else every mutant would die."""
    usable = sorted(reach.seconds.keys() - reach.failed)
    tests = random.Random(0).sample(usable, min(100, len(usable)))
    path = min(sources)
    job = Job("control", partial(try_mutant, path, sources[path], tests), 600, 1200)
    for _, status in run([job], 1, folder / "log"):
        if status != 0:
            print((folder / "log").read_text()[-4000:], file=sys.stderr)
            sys.exit("scripts/mutants: tests fail without any mutant")


def main(arguments: list[str]) -> int:
    """Try the sample; return the exit status."""
    options = _options(arguments)
    sources = _sources(options.packages)
    sample = _sample(options, sources)
    preload()
    with tempfile.TemporaryDirectory(prefix="switchboard-mutants-") as name:
        folder = Path(name)
        reach = _trace(options, folder)
        _control(sources, reach, folder)
        results: list[Result] = []
        with options.results.open("a") if options.results else nullcontext() as file:
            for result in _try(options, sample, sources, reach, folder):
                results.append(result)
                if file is not None:
                    note(result, file)
    return 0 if show(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
