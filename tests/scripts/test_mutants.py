"""scripts/mutants: which faults it makes, which tests face them, and what it tells."""

import json
import random
import time
from pathlib import Path

import pytest

from scripts.mutation import report
from scripts.mutation.__main__ import main
from scripts.mutation.mutants import Mutant, all_mutants, mutants
from scripts.mutation.reach import Reach, outdated
from scripts.mutation.report import Result
from scripts.mutation.running import Job, run
from tests.scripts.clones import ROOT

SOURCE = b'''"""A docstring."""
LIMIT: int = 3
Word = Literal["a"]
T = TypeVar("T")

def f(a, b=1):
    """Say so."""
    log.info("said", extra={"a": 1})
    if a <= LIMIT and not b:
        raise ValueError("this is too much")
    a.count += 1
    note("\xc3\xa9")
    return a
'''


def changed(source: bytes) -> list[str]:
    """Return the lines that the faults of a text change, as they are then."""
    before = source.decode().splitlines()
    return [
        line.strip()
        for one in mutants("x.py", source)
        for line, was in zip(one.apply(source).decode().splitlines(), before, strict=True)
        if line != was
    ]


def test_each_fault_changes_one_place_that_a_program_can_see() -> None:
    assert changed(SOURCE) == [
        "LIMIT: int = 4",
        "def f(a, b=2):",
        "if (a < LIMIT) and not b:",
        "if (a <= LIMIT or not b):",
        "if (not (a <= LIMIT and (not b))):",
        "if a <= LIMIT and (b):",
        "pass",
        "a.count -= 1",
        "a.count += 2",
        "pass",
        "note('éX')",
        "return None",
    ]


def test_every_fault_of_the_server_is_python() -> None:
    sources = {
        str(path.relative_to(ROOT)): path.read_bytes() for path in (ROOT / "app/auth").glob("*.py")
    }
    found = list(all_mutants(sources))
    assert len(found) > 500
    for one in found[::50]:
        compile(one.apply(sources[one.path]), one.path, "exec")


def mutant(line: int, path: str = "app/auth/jwt.py", scope: str = "f") -> Mutant:
    return Mutant(path, line, line, line, scope, 0, 1, "a", "b")


def reach() -> Reach:
    lines = {1: {""}, 5: {"tests/web/t::slow", "tests/auth/test_jwt.py::own", "tests/web/t::quick"}}
    seconds = {
        "tests/web/t::slow": 9.0,
        "tests/auth/test_jwt.py::own": 2.0,
        "tests/web/t::quick": 1,
    }
    return Reach({"app/auth/jwt.py": lines}, seconds)


def test_a_mutant_faces_the_tests_of_its_own_file_first_then_the_quick_ones() -> None:
    own, quick, slow = "tests/auth/test_jwt.py::own", "tests/web/t::quick", "tests/web/t::slow"
    assert reach().tests_of(mutant(5), 60) == [own, quick, slow]
    assert reach().tests_of(mutant(5), 4) == [own, quick]
    assert reach().tests_of(mutant(5), 0) == [own]


def test_what_runs_on_import_faces_all_tests_of_the_file() -> None:
    assert len(reach().tests_of(mutant(1), 60)) == 3
    assert len(reach().tests_of(mutant(2, scope="module"), 60)) == 3


def test_a_line_that_no_test_reaches_faces_none() -> None:
    assert reach().tests_of(mutant(7), 60) == []


def test_a_test_that_fails_anyway_tells_nothing() -> None:
    found = reach()
    found.failed.add("tests/auth/test_jwt.py::own")
    assert found.tests_of(mutant(5), 1) == ["tests/web/t::quick"]


@pytest.mark.process
def test_a_process_that_does_not_end_is_ended_and_the_others_go_on(tmp_path: Path) -> None:
    def loop() -> int:
        while True:
            time.sleep(60)

    jobs = [
        Job("good", lambda: 0, 60, 60),
        Job("bad", lambda: 1, 60, 60),
        Job("endless", loop, 60, 0.1),
    ]
    told = {job.name: status for job, status in run(jobs, 3, tmp_path / "log")}
    assert told == {"good": 0, "bad": 1, "endless": None}


def test_survivors_need_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = [Result(mutant(n), "killed", 1) for n in range(9)] + [
        Result(mutant(5), "survived", 2)
    ]
    names = tmp_path / "survivors.txt"
    monkeypatch.setattr(report, "NAMED", names)
    names.write_text("# Nobody\n")
    assert not report.show(results)
    assert "survived: line 5, 2 tests: app/auth/jwt.py | f | a | b" in capsys.readouterr().out
    names.write_text("It is the same:\n    app/auth/jwt.py | f | a | b\n")
    assert report.show(results)
    told = "90.0 % killed; of 1 survivors, 0 equivalent, 0 without a reason"
    assert told in capsys.readouterr().out
    names.write_text("Equivalent, it is the same:\n    app/auth/jwt.py | f | a | b\n")
    assert report.show(results)
    assert "of 1 survivors, 1 equivalent, 0 without a reason" in capsys.readouterr().out


def test_too_few_killed_is_a_failure_even_with_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tmp_path / "survivors.txt"
    names.write_text("It is the same:\n    app/auth/jwt.py | f | a | b\n")
    monkeypatch.setattr(report, "NAMED", names)
    assert not report.show([Result(mutant(5), "survived", 2), Result(mutant(5), "killed", 2)])


def test_what_survived_can_be_tried_again(tmp_path: Path) -> None:
    results = tmp_path / "results"
    with results.open("w") as file:
        report.note(Result(mutant(1), "killed", 1), file)
        report.note(Result(mutant(2, scope="g"), "unreached", 0), file)
    assert report.survivors_in(results) == {"app/auth/jwt.py | g | a | b"}
    assert [json.loads(line)["line"] for line in results.read_text().splitlines()] == [1, 2]


def test_of_a_mutant_that_was_tried_twice_the_last_result_counts(tmp_path: Path) -> None:
    results = tmp_path / "results"
    assert report.read_results(results) == {}
    with results.open("w") as file:
        for verdict in VERDICTS:
            report.note(Result(mutant(1), verdict, 1), file)
        report.note(Result(mutant(2), "survived", 3), file)
    found = report.read_results(results)
    assert [record["verdict"] for record in found.values()] == ["killed", "survived"]
    # The same fault in another line is another one.
    assert [line for _, line in found] == [1, 2]


VERDICTS: tuple[report.Verdict, ...] = ("survived", "killed")


def test_an_interrupted_run_goes_on_with_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = ["--seed", "7", "--count", "3", "--results", str(tmp_path / "results")]
    sources = {str(path): path.read_bytes() for path in Path("app/protocol").rglob("*.py")}
    found = list(all_mutants(sources))
    random.Random(7).shuffle(found)
    with (tmp_path / "results").open("w") as file:
        for one in found[:3]:
            report.note(Result(one, "killed", 1), file)
    # Nothing is left: not one test runs.
    assert main([*arguments, "--packages", "app/protocol"]) == 0
    assert "3 results are there already" in capsys.readouterr().out


def test_tests_traced_again_take_the_place_of_what_they_reached_before(tmp_path: Path) -> None:
    found = reach()
    found.failed.add("tests/web/t::quick")
    new = "tests/web/t::new"
    lines = {"app/auth/jwt.py": {"7": [new]}}
    found.add({"lines": lines, "seconds": {new: 1}, "failed": []})
    own = "tests/auth/test_jwt.py::own"
    assert (found.tests_of(mutant(5), 60), found.failed) == ([own], set())
    found.save(tmp_path / "reach")
    kept = Reach.load(tmp_path / "reach")
    assert kept.tests_of(mutant(7), 60) == [new]
    assert kept.tests_of(mutant(5), 60) == [own]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, set()),
        ({"tests/auth/test_jwt.py": "2"}, {"tests/auth/test_jwt.py"}),
        ({"tests/auth/test_new.py": "1"}, {"tests/auth/test_new.py"}),
        ({"app/auth/jwt.py": "2"}, None),
        ({"tests/auth/house.py": "2", "tests/auth/test_jwt.py": "2"}, None),
    ],
    ids=["nothing", "a test file", "a new test file", "the code", "what tests share"],
)
def test_only_what_changed_is_traced_again(
    changed: dict[str, str], expected: set[str] | None
) -> None:
    before = dict.fromkeys(
        ("tests/auth/test_jwt.py", "tests/auth/house.py", "app/auth/jwt.py"), "1"
    )
    assert outdated(before, {**before, **changed}) == expected
