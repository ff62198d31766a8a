"""CONTRIBUTING.md says how to run the tests, and what their folders are that mirror no package."""

import re
from pathlib import Path

from tests.docs.pages import ROOT, page

PAGE = page("CONTRIBUTING.md")


def folders(of: Path) -> set[str]:
    return {
        path.name for path in of.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    }


def test_every_folder_of_the_tests_is_a_package_or_says_what_it_is_for() -> None:
    packages, tests = folders(ROOT / "app"), folders(ROOT / "tests")
    named = {row[0].removeprefix("tests/") for row in PAGE.table("folder")}
    assert tests - packages == named
    assert not named & packages


def test_every_module_of_the_tests_is_in_a_folder_or_of_a_module_of_the_app() -> None:
    modules = {path.stem for path in (ROOT / "app").glob("*.py")}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert tested <= modules


def test_every_way_to_run_the_tests_is_one_of_the_script() -> None:
    script = (ROOT / "scripts/test").read_text()
    ways = set(re.findall(r"scripts/test (--\w+)", PAGE.text))
    assert ways == {"--unit", "--long"}
    for way in ways:
        assert f"1:{way})" in script
