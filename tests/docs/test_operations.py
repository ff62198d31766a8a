"""docs/operations.md is what the code has: settings, metrics, log lines, examples."""

import ast
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from serving import Server

from app.auth.jwt import JwtVerifier
from app.features.feature import Reply, handlers
from app.keys import METRICS
from app.protocol.messages import ClientMessage, MessageError
from app.settings import ENV_PREFIX, Settings
from app.storage.lock import LOCK_NAME
from scripts.generated import settings_table, with_part
from tests.clocks import HandClock
from tests.docs.log_lines import LEVELS, lines
from tests.docs.pages import Page, page

PAGE = page("docs/operations.md")
LOG_ROWS = PAGE.table("log message")


def test_the_settings_table_is_current() -> None:
    assert with_part(PAGE.text, "settings", settings_table()) == PAGE.text, "run scripts/docs"


def test_every_setting_has_its_row() -> None:
    rows = {row[0]: row for row in PAGE.table("name", "environment", "flag")}
    assert list(rows) == list(Settings.model_fields)
    assert rows["jwt_secret"][2] == "–", "a secret has no flag"
    assert rows["port"][1:6] == ("SWITCHBOARD_PORT", "--port", "8080", "–", "≥ 0, ≤ 65535")


def test_every_variable_that_is_named_is_a_setting() -> None:
    named = set(re.findall(rf"{ENV_PREFIX}([A-Z_]+)", PAGE.text))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


async def test_the_metrics_table_is_what_the_server_shows(tmp_path: Path) -> None:
    async with Server(tmp_path) as server:
        metrics = server.app[METRICS]
        metrics.received.add("note")
        metrics.handler_took("note", 0.1)
        shown = {
            (family.name, family.type, ", ".join(sorted(labels(family) - {"le"})))
            for family in metrics.collect()
        }
    assert {row[:3] for row in PAGE.table("metric", "kind", "labels")} == shown


def labels(family: Any) -> set[str]:
    return {label for sample in family.samples for label in sample.labels}


WHO = {"user", "handle", "device", "instance", "connection", "address"}


def shown_fields(cell: str) -> set[str]:
    """Return the fields of a row, with what `*who*` stands for."""
    names = {name for name in cell.split(", ") if name != "–"}
    return names - {"*who*"} | (WHO if "*who*" in names else set())


def shown_levels(cell: str) -> set[str]:
    return {level for level in LEVELS if re.search(rf"\b{level}\b", cell)}


def test_every_log_line_of_the_code_has_one_row() -> None:
    rows = [row[0] for row in LOG_ROWS]
    assert sorted(rows) == sorted(lines())


def test_each_row_has_the_level_and_the_fields_of_the_line() -> None:
    rows = {row[0]: (shown_levels(row[1]), shown_fields(row[2])) for row in LOG_ROWS}
    chosen = {name: rows[name][0] for name, line in lines().items() if not line.levels}
    written = {name: (one.levels or chosen[name], one.fields) for name, one in lines().items()}
    assert rows == written


def test_each_row_says_what_its_line_means() -> None:
    assert [row[0] for row in LOG_ROWS if len(row) != 4 or not row[3]] == []


def test_the_fields_of_a_connections_lines_are_explained() -> None:
    told = {name for row in PAGE.table("field", "what it says") for name in row[0].split(", ")}
    assert told == (lines()["connected"].fields | lines()["disconnected"].fields) - WHO


@pytest.mark.parametrize("name", ["connected", "administered", "clock jumped", "task … died"])
def test_the_fields_of_a_line_are_found_however_they_are_made(name: str) -> None:
    some = {
        "connected": {"handle", "asked", "agent"},
        "administered": {"by", "handle"},
        "clock jumped": {"steady_seconds"},
        "task … died": {"exception"},
    }
    assert some[name] <= lines()[name].fields


def test_the_files_are_those_of_a_data_folder() -> None:
    named = " ".join(row[0] for row in PAGE.table("file", "what"))
    for name in ("switchboard.db", "switchboard.db-wal", "cookie.key", "control.sock", LOCK_NAME):
        assert name in named


def jwt_settings(tmp_path: Path) -> Settings:
    block = next(one.text for one in PAGE.examples if "JWT_SECRET" in one.text)
    pairs = (line.split("=", 1) for line in block.split())
    given = {name.removeprefix(ENV_PREFIX).lower(): value for name, value in pairs}
    return Settings(data_dir=tmp_path, **given)


def test_the_claims_shown_are_accepted(tmp_path: Path) -> None:
    settings = jwt_settings(tmp_path)
    claims = PAGE.example("json", "claims").json
    assert settings.jwt_secret is not None
    token = jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")
    verifier = JwtVerifier.from_settings(settings, HandClock(claims["iat"] + 1))
    assert verifier is not None
    assert verifier.verify(token).device_uuid == claims["device_id"]


def test_the_python_that_signs_is_accepted(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(PAGE.example("python", "jwt").text, names)
    verifier = JwtVerifier.from_settings(jwt_settings(tmp_path))
    assert verifier is not None
    assert verifier.verify(names["token"]).exp > time.time()


async def test_the_feature_shown_works() -> None:
    names: dict[str, Any] = {}
    exec(PAGE.example("python", "feature").text, names)
    handle = handlers([names["echo"]])["echo"]
    answer = await handle(None, ClientMessage("echo.say", "hello"))  # type: ignore[arg-type]
    assert answer == Reply("echo.said", "hello")
    with pytest.raises(MessageError):
        await handle(None, ClientMessage("echo.shout"))  # type: ignore[arg-type]


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="settings"):
        with_part("no markers", "settings", settings_table())


def test_each_alarm_names_a_metric_that_exists() -> None:
    known = {row[0] for row in PAGE.table("metric", "kind", "labels")}
    for name in re.findall(r"`(switchboard_[a-z_]+)`", PAGE.text):
        assert name in known


def test_examples_in_python_parse() -> None:
    for one in Page(PAGE.path).examples:
        if one.language == "python":
            ast.parse(one.text)
