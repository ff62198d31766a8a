"""Draws the plot of docs/performance.md as SVG, without a library."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

# The scenarios that compare the same servers by processor time.
SHOWN = ("fanout", "others", "burst", "echo", "mixed", "tls")
WIDTH, LABEL, NUMBER = 720, 150, 60
BAR, GAP, HEAD = 16, 4, 34
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1c2733}.title{font-weight:600}"
    ".bar{fill:#9fb1c4}.own{fill:#1769c2}.floor{stroke:#c2410c;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6ebf0}.bar{fill:#5b6b7c}.own{fill:#5aa2ee}}"
)


def plot(document: Mapping[str, Any]) -> str:
    """Return an SVG of the servers' processor time per operation, as a multiple of the floor's."""
    shown = [result for result in document["results"] if result["scenario"] in SHOWN]
    parts, top = [], 8
    for result in shown:
        drawn, height = _panel(result, top)
        parts += drawn
        top += height
    stated = document["conditions"]
    note = f"{stated.get('date', '')}, {stated.get('processor', '')}"
    parts.append(_text(8, top + 14, f"Server CPU as a multiple of a C loop of write(). {note}"))
    size = f'width="{WIDTH}" height="{top + 26}" viewBox="0 0 {WIDTH} {top + 26}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
        f'aria-label="Server CPU beside the floor">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


def write_plot(path: Path, figures: Path) -> None:
    """Draw the figures of one file into another."""
    path.write_text(plot(json.loads(figures.read_text())))


def _panel(result: Mapping[str, Any], top: int) -> tuple[list[str], int]:
    rows = [row for row in result["figures"] if row.get("to_floor") is not None]
    rows = sorted(rows, key=lambda row: float(row["to_floor"]))
    longest = WIDTH - LABEL - NUMBER
    most = max((row["to_floor"] for row in rows), default=1)
    title = f"{result['scenario']}: {result['what']}"
    parts = [_text(8, top + 16, title, "title")]
    for place, row in enumerate(rows):
        parts += _bar(row, top + HEAD - 8 + place * (BAR + GAP), longest / most)
    bottom = HEAD - 8 + len(rows) * (BAR + GAP)
    line = LABEL + longest / most
    ends = f'x1="{line:.1f}" x2="{line:.1f}" y1="{top + 22}" y2="{top + bottom}"'
    return [*parts, f'<line class="floor" {ends}/>'], bottom + 12


def _bar(row: Mapping[str, Any], y: int, unit: float) -> Sequence[str]:
    name, ratio = str(row["server"]), float(row["to_floor"])
    kind = "own" if name.startswith("ours") else "bar"
    length = ratio * unit
    return [
        _text(8, y + 12, name),
        f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}"/>',
        _text(LABEL + length + 6, y + 12, f"{ratio:.2f}"),
    ]


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(text)}</text>'
