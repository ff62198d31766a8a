"""The close codes that the JavaScript client knows are those of the server, and no others."""

import re
from pathlib import Path

from app.protocol.close import CLOSES

ROOT = Path(__file__).parents[2]

CONSTANTS = ROOT / "frontend" / "client" / "closes.js"

Constant = tuple[int, str, bool]


def constants() -> list[Constant]:
    """Return code, reason and whether to come back, of each line of the table, in its order."""
    table = CONSTANTS.read_text().partition("export const CLOSES = [")[2].partition("\n];")[0]
    rows = re.findall(r"^  \[(\d+), '([a-z_]+)', (true|false)\],$", table, re.MULTILINE)
    assert len(rows) == len(table.split("],")) - 1, "a line of the table was not understood"
    return [(int(code), reason, reconnect == "true") for code, reason, reconnect in rows]


def test_the_client_knows_each_close_of_the_server_and_no_other() -> None:
    ours = [(close.code, close.reason, close.reconnect) for close in CLOSES]
    assert sorted(constants()) == sorted(ours)


def test_no_close_is_there_twice() -> None:
    known = [(code, reason) for code, reason, _ in constants()]
    assert len(known) == len(set(known))


def test_the_range_alone_says_whether_to_come_back() -> None:
    for code, reason, reconnect in constants():
        final = code == 1000 or 4500 <= code <= 4599
        assert reconnect is not final, f"{code} {reason}"
