"""scripts/mutants: breaks the code in small ways and tells which of them no test sees.

A sample of all mutants, drawn with the seed, is tried one by one. First all tests run once, traced,
so that a mutant has to face only those that reach its line, its own file's first. The files are
never changed. A run with the same --results goes on where one was interrupted. The exit status is 0
if 85 % were killed and every survivor has its reason in scripts/mutation/survivors.txt. It needs
Linux, and five seconds of a processor for each mutant.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Final

from scripts.mutation.mutants import Mutant, all_mutants
from scripts.mutation.reach import Reach, digests, outdated
from scripts.mutation.report import Result, Verdict, note, read_results, show, survivors_in
from scripts.mutation.running import Job, preload, run, trace, try_mutant

PACKAGES: Final = ("app/protocol", "app/streams", "app/auth")
TESTS: Final = (
    *("tests/streams", "tests/web", "tests/node"),
    *("tests/sockets", "tests/auth", "tests/protocol", "tests/contracts", "tests/features"),
    *("tests/storage", "tests/requests", "tests/publishing", "tests/control", "tests/docs"),
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
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FILE",
        help="append each result there; what is there already is not tried again, so that a run "
        "that was interrupted goes on",
    )
    parser.add_argument(
        "--reach",
        type=Path,
        metavar="FOLDER",
        help="keep the traces there; the next run traces only test files that changed, or all "
        "tests if the code did",
    )
    parser.add_argument(
        "--again",
        type=Path,
        metavar="FILE",
        help="only what survived when it was last tried, by these results",
    )
    return parser.parse_args(arguments)


def _sources(packages: Sequence[str]) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for package in packages for path in Path(package).rglob("*.py")
    }


def _reach(options: argparse.Namespace, folder: Path) -> Reach:
    """Return what the tests reach: as it was kept, but for what has changed since then."""
    kept = options.reach or folder
    kept.mkdir(parents=True, exist_ok=True)
    traces, sources = kept / "reach.json", kept / "digests.json"
    now = digests(["tests", *options.packages])
    reach, tests = Reach(), list(options.tests)
    if traces.exists() and sources.exists():
        changed = outdated(json.loads(sources.read_text()), now)
        if changed is not None:
            reach = Reach.load(traces)
            reach.forget(changed)
            folders = tuple(f"{one}/" for one in options.tests)
            tests = [one for one in sorted(changed & now.keys()) if one.startswith(folders)]
    _trace(options, reach, tests, folder)
    reach.save(traces)
    sources.write_text(json.dumps(now))
    return reach


def _trace(options: argparse.Namespace, reach: Reach, tests: list[str], folder: Path) -> None:
    """Run these tests once, and add what they reach; each process takes some of them."""
    shares = [share for at in range(options.workers) if (share := tests[at :: options.workers])]
    files = [folder / f"traced-{at}" for at in range(len(shares))]
    jobs = [
        Job(f"trace {at}", partial(trace, share, options.packages, file), TRACE_SECONDS, 3600)
        for at, (share, file) in enumerate(zip(shares, files, strict=True))
    ]
    for job, status in run(jobs, options.workers, folder / "log"):
        if status not in (0, 1):
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            sys.exit(f"scripts/mutants: {job.name} ended with {status}")
    for file in files:
        reach.add(json.loads(file.read_text()))
    print(
        f"{len(reach.seconds)} tests traced; {len(reach.failed)} failed and are left out",
        flush=True,
    )


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


def _known(
    options: argparse.Namespace, sample: Sequence[Mutant]
) -> tuple[list[Result], list[Mutant]]:
    """Return the results that there are already, and the mutants that are left to be tried."""
    if options.results is None or options.again is not None:
        return [], list(sample)
    records = read_results(options.results)
    known = {one: records.get((one.name, one.line)) for one in sample}
    results = [
        Result(mutant, record["verdict"], record["tests"])
        for mutant, record in known.items()
        if record is not None
    ]
    print(f"{len(results)} results are there already", flush=True)
    return results, [mutant for mutant in sample if known[mutant] is None]


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
        results, left = _known(options, sample)
        reach = _reach(options, folder) if left else Reach()
        if left:
            _control(sources, reach, folder)
        with options.results.open("a") if options.results else nullcontext() as file:
            for result in _try(options, left, sources, reach, folder):
                results.append(result)
                if file is not None:
                    note(result, file)
    return 0 if show(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
