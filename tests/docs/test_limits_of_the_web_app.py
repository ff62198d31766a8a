"""The web app has words for each limit of the server, and names settings that there are."""

import re
from pathlib import Path

from app.cli.limits import SETTINGS

WORDS = Path(__file__).parents[2] / "frontend" / "src" / "words" / "limits.js"


def test_the_web_app_names_the_limits_of_the_server_with_the_settings_of_the_command() -> None:
    table = WORDS.read_text().partition("const LIMITS = new Map([")[2].partition("\n]);")[0]
    rows = re.findall(r"\[\s*'(\w+)',\s*\{\s*words: '[^']+',\s*settings: '([^']+)'", table)
    assert dict(rows) == SETTINGS
