"""Pages of the documentation, taken apart: their examples, tables and links."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CUE = re.compile(r"^<!-- play: (.+) -->$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_QUOTE = re.compile(r"``(.+?)``|`([^`]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A fenced block: ```LANGUAGE ROLE."""

    language: str
    role: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def examples(self) -> list[Example]:
        return [Example(*found) for found in _FENCE.findall(self.text)]

    @property
    def script(self) -> list[Example]:
        """The examples, with the cues between them that readers do not see: `<!-- play: … -->`."""
        cues = [(found.start(), Example("cue", found[1], "")) for found in _CUE.finditer(self.text)]
        shown = [(found.start(), Example(*found.groups())) for found in _FENCE.finditer(self.text)]
        return [one for _, one in sorted(cues + shown, key=lambda pair: pair[0])]

    @property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def example(self, language: str, role: str) -> Example:
        """Return the one example of this kind."""
        [found] = [one for one in self.examples if (one.language, one.role) == (language, role)]
        return found

    def table(self, *head: str) -> list[tuple[str, ...]]:
        """Return the rows of the one table whose first columns are these, without backticks."""
        rows = [
            tuple(cell.strip().replace("`", "") for cell in line.strip("| ").split(" | "))
            if line.startswith("|")
            else ()
            for line in self.prose.replace("| |", "|  |").splitlines()
        ]
        [start] = [at for at, row in enumerate(rows) if row[: len(head)] == head]
        end = next(at for at in range(start, len(rows)) if not rows[at])
        return rows[start + 2 : end]

    def rows_under(self, *head: str) -> list[dict[str, str]]:
        """Return the rows of all tables with these columns, by column, with their backticks."""
        found: list[dict[str, str]] = []
        in_table = False
        for line in self.prose.splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            if not line.startswith("|"):
                in_table = False
            elif tuple(cells) == head:
                in_table = True
            elif in_table and not line.startswith("|---"):
                assert len(cells) == len(head), f"a row with another number of cells: {line}"
                found.append(dict(zip(head, cells, strict=True)))
        return found

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """The fragments of the headings, as GitHub makes them."""
        return {anchor(heading) for heading in _HEADING.findall(self.prose)}


def anchor(heading: str) -> str:
    """Return the fragment that GitHub gives a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


def quoted(text: str) -> list[str]:
    """Return what stands between backticks, single or double."""
    return [double or single for double, single in _QUOTE.findall(text)]


def page(name: str) -> Page:
    """Return a page by its path in the project."""
    return Page(ROOT / name)


def all_pages() -> list[Page]:
    """Return every page that people read."""
    benchmark = ROOT / "scripts/benchmark/README.md"
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), benchmark]
    return [Page(path) for path in sorted(found)]
