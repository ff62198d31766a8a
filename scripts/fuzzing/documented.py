"""What the documentation allows the server to say: error codes, close codes, problem codes."""

import re
from pathlib import Path
from typing import Final

from app.protocol.close import CLOSES

DOCS: Final = Path(__file__).parents[2] / "docs"

CLOSE_CODES: Final = frozenset({*(close.code for close in CLOSES), 1000, 1002, 1007, 1009})
"""Ours, and those with which aiohttp answers a close, or what is no WebSocket (RFC 6455, 7.4.1)."""


def error_codes() -> frozenset[str]:
    """Return the codes in the table of errors in docs/protocol.md."""
    return frozenset(_codes("protocol.md", r"^\| `([a-z_]+)` \|", "| error code |"))


def problem_codes() -> frozenset[tuple[int, str]]:
    """Return status and code of each refusal in docs/protocol.md, http-api.md and admin-api.md."""
    found = set[tuple[int, str]]()
    for page in ("protocol.md", "http-api.md", "admin-api.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        found |= {
            (int(status), code)
            for status, code in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", text, re.MULTILINE)
        }
    return frozenset(found)


def _codes(page: str, row: str, head: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    table = text.partition(head)[2].partition("\n\n")[0]
    return re.findall(row, table, re.MULTILINE)
