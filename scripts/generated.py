"""scripts/docs: the parts of docs/ that are made from the code, between two markers."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from app.base.options import shown
from app.protocol.close import CLOSES
from app.settings import OPTIONS

ROOT: Final = Path(__file__).parents[1]
END: Final = "<!-- end of generated part -->"


def settings_table() -> str:
    """Return every setting as a row: name, environment, flag, default, unit, range, what."""
    rows = [
        (
            _code(option.name),
            _code(option.variable),
            _code(option.flag),
            _code(shown(option.default)),
            option.unit or "–",
            ", ".join([*map(_code, option.choices), *option.bounds]) or "–",
            option.what,
        )
        for option in OPTIONS.values()
    ]
    return _table(("name", "environment", "flag", "default", "unit", "range", "what"), rows)


def closes_table() -> str:
    """Return every close code as a row."""
    rows = [
        (
            str(close.code),
            f"`{close.reason}`",
            "yes" if close.reconnect else "no",
            close.meaning,
        )
        for close in CLOSES
    ]
    return _table(("code", "reason", "come back?", "meaning"), rows)


PARTS: Final[tuple[tuple[str, str, Callable[[], str]], ...]] = (
    ("docs/operations.md", "settings", settings_table),
    ("docs/protocol.md", "closes", closes_table),
)


def with_part(page: str, name: str, part: str) -> str:
    """Return the page with this part between its markers; raises ValueError without them."""
    begin = f"<!-- generated: {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"no part {name!r} in the page")
    return f"{before}{begin}\n\n{part}\n{END}{after}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(text: str | None) -> str:
    return "–" if text is None else f"`{text}`"


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check name those that are not current; return the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on differences")
    options = parser.parse_args(arguments)
    stale = False
    for name, part, make in PARTS:
        path = ROOT / name
        page = path.read_text(encoding="utf-8")
        current = with_part(page, part, make())
        if page == current:
            continue
        stale = True
        print(f"{name}: {part} {'is not current' if options.check else 'is written anew'}")
        if not options.check:
            path.write_text(current, encoding="utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
