"""docs/architecture.md and docs/decisions say what the code and its contract say."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page, page

DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))


def contract() -> list[list[str]]:
    """Each layer as its words, without the separators."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["importlinter:contract:layers"]["layers"].strip().splitlines()
    return [[word for word in line.split() if word not in ("|", ":")] for line in lines]


def test_the_layers_are_those_of_the_contract() -> None:
    rows = page("docs/architecture.md").table("layer", "what it is")
    shown = [re.split(r",? (?:: )?", row[0]) for row in rows]
    assert [sorted(layer) for layer in shown] == [sorted(layer) for layer in contract()]


def test_the_edge_is_that_of_the_contract() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    kept = config["importlinter:contract:edge"]["source_modules"].split()
    sentence = re.search(r"aiohttp is known at the edge only: in (.*?)\.\s", edge_text(), re.DOTALL)
    assert sentence is not None
    named = set(re.findall(r"`([\w.]+)`", sentence[1]))
    free = {word.strip("()") for layer in contract() for word in layer}
    free = {word for word in free if not any(f"app.{word}" == one for one in kept)}
    unbuilt = {"cluster", "broker"}
    assert named == free - unbuilt


def edge_text() -> str:
    return page("docs/architecture.md").prose


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


by_decision = pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)


@by_decision
def test_a_decision_has_its_three_parts(path: Path) -> None:
    text = Page(path).text
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
    assert len(text.splitlines()) <= 60


def others(path: Path, relation: str) -> list[str]:
    """Return the decisions to which the head of this one says it has the relation."""
    head = Page(path).text.partition("\n## Context\n")[0].partition("\n")[2]
    return re.findall(rf"^{relation} \[\d{{4}}\]\((\d{{4}}-[a-z0-9-]+\.md)\)", head, re.MULTILINE)


@by_decision
def test_the_head_of_a_decision_has_its_status_and_nothing_else(path: Path) -> None:
    head = Page(path).text.partition("\n## Context\n")[0].splitlines()[1:]
    status = [line for line in head if line]
    assert len(status) == len(others(path, "Superseded by")) + len(others(path, "Supersedes"))


@by_decision
def test_a_superseded_decision_and_a_later_one_name_each_other(path: Path) -> None:
    for name in others(path, "Superseded by"):
        assert name > path.name
        assert path.name in others(path.with_name(name), "Supersedes")
    for name in others(path, "Supersedes"):
        assert name < path.name
        assert path.name in others(path.with_name(name), "Superseded by")


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[><=;]", one)[0] for one in project["dependencies"]]
    rows = page("docs/decisions/0001-libraries.md").table("package", "why")
    assert [row[0] for row in rows] == names
    assert all(row[1] for row in rows)
