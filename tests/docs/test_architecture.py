"""docs/architecture.md and docs/decisions say what the code and its contract say."""

import re
import tomllib
from configparser import ConfigParser

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


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_has_its_three_parts(path) -> None:
    text = Page(path).text
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
    assert len(text.splitlines()) <= 60


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[><=;]", one)[0] for one in project["dependencies"]]
    rows = page("docs/decisions/0001-libraries.md").table("package", "why")
    assert [row[0] for row in rows] == names
    assert all(row[1] for row in rows)
