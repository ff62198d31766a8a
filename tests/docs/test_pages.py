"""All pages: links lead somewhere, commands exist, words are those of the glossary."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from app.cli.main import Deferred, commands
from tests.docs.pages import ROOT, Page, all_pages, page

PAGES = all_pages()
OTHERS_WORDS = re.compile(r"\b(rooms?|topics?|channels?|hubs?|pub/?sub)\b", re.IGNORECASE)

by_name = pytest.mark.parametrize(
    "one", PAGES, ids=lambda one: str(one.path.relative_to(ROOT)) if isinstance(one, Page) else ""
)


def target(one: Page, link: str) -> Page:
    path, _, _ = link.partition("#")
    return Page((one.path.parent / path).resolve() if path else one.path)


@by_name
def test_every_link_leads_somewhere(one: Page) -> None:
    for link in one.links:
        if link.startswith("https://"):
            continue
        found = target(one, link)
        assert found.path.exists(), link
        assert found.path.is_relative_to(ROOT), link
        fragment = link.partition("#")[2]
        assert not fragment or fragment in found.anchors, link


def command_lines(one: Page) -> Iterator[list[str]]:
    """Yield the words after the program of every line that calls our command line."""
    for example in one.examples:
        if example.language not in ("sh", "console"):
            continue
        for line in example.text.splitlines():
            match = re.search(r"(?:scripts/switchboard|python -m app) (.*)", line.strip())
            if match is not None:
                yield shlex.split(match[1])
            elif "./scripts/serve " in line:
                yield ["serve", *shlex.split(line.partition("./scripts/serve ")[2])]


@by_name
def test_every_command_exists(one: Page) -> None:
    for words in command_lines(one):
        if words[-1] == "HANDLE" or words[0].startswith("…"):
            continue
        command, rest = find(words)
        # Fails for an option or an argument that the command does not take.
        command.make_context(" ".join(words), list(rest))


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = commands
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.commands.get(rest[0])
        assert found is not None, f"there is no command {' '.join(words)}"
        command, rest = found.load() if isinstance(found, Deferred) else found, rest[1:]
    return command, rest


@by_name
def test_every_path_that_is_named_exists(one: Page) -> None:
    named = re.findall(r"(?<![\w/.])((?:\./)?(?:scripts|deploy|docs|tests|app)/[\w./-]+)", one.text)
    for name in named:
        path = name.rstrip(".").removeprefix("./")
        assert (ROOT / path).exists(), path


@by_name
def test_each_idea_has_one_word(one: Page) -> None:
    # Where a link leads is no prose.
    assert not OTHERS_WORDS.findall(re.sub(r"\]\([^)]*\)", "]", one.prose))


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    linked: set[Path] = set()
    waiting = [page("README.md")]
    while waiting:
        one = waiting.pop()
        linked.add(one.path)
        for link in one.links:
            found = target(one, link)
            if found.path.suffix == ".md" and found.path not in linked and found.path.exists():
                waiting.append(found)
    pages = {one.path for one in PAGES if one.path.parent.name != "decisions"}
    assert pages <= linked
    assert (ROOT / "docs/decisions") in {
        target(page("README.md"), one).path for one in page("README.md").links
    }


def test_the_pages_were_found() -> None:
    names = {one.path.name for one in PAGES}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "protocol.md"} <= names


def test_the_licence_is_mit_and_names_its_holders() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("MIT License")
    assert "The Switchboard authors" in text
