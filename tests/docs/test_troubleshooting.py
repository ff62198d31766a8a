"""docs/troubleshooting.md quotes what the code says, leaves nothing out, and its commands run."""

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from serving import PATIENCE

from app.cli.main import commands
from app.protocol.close import CLOSES
from app.settings import ENV_PREFIX, Settings
from app.storage.faults import REASONS
from tests.docs.pages import ROOT, page, quoted
from tests.docs.source import called, calls, template, templates
from tests.docs.test_pages import find
from tests.process.server import ServerProcess

PAGE = page("docs/troubleshooting.md")
OPERATIONS = page("docs/operations.md")

SEEN, WHY, LOOK, DO = "what you see", "why", "command that shows it", "what to do"
ROWS = PAGE.rows_under(SEEN, WHY, LOOK, DO)
FIRST_LOOK = PAGE.rows_under("what you want to know", LOOK, "all is well if")
COMMANDS = sorted({one for row in (*ROWS, *FIRST_LOOK) for one in quoted(row[LOOK])})

SERIOUS: Final = ("warning", "error", "critical", "exception")
OWN: Final = frozenset(commands.commands)

OF_OTHERS: Final = frozenset(
    {
        *("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_CANTOPEN"),
        *("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "Permission denied", "watchdog"),
        "switchboard.db-wal",
    }
)
"""What a person sees that SQLite, the system or systemd says."""

SAFE_IF_ONE: Final = "./scripts/switchboard check --production"
"""The command whose status 1 is an answer: the server of a test is not safe."""


def fold(text: str) -> str:
    """Return the text without what a sentence adds to it: a capital, a full stop."""
    return (text[:1].lower() + text[1:]).rstrip(".")


SAID: Final = {fold(text) for text in templates()}


def is_said(quote: str) -> bool:
    """Tell whether the code has this text; `…` in it stands for any part."""
    known = quote in Settings.model_fields or quote in OF_OTHERS or fold(quote) in SAID
    if known or "…" not in quote:
        return known
    pattern = re.compile(".*".join(map(re.escape, fold(quote).split("…"))), re.DOTALL)
    return any(map(pattern.fullmatch, SAID))


def metrics_of_operations() -> set[str]:
    return {row[0] for row in OPERATIONS.table("metric", "kind", "labels")}


def is_metric(name: str) -> bool:
    family = re.sub(r"_(total|bucket|sum|count)$", "", name)
    return not {name, family}.isdisjoint(metrics_of_operations())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[SEEN][:60])
def test_the_code_says_what_a_row_quotes(row: dict[str, str]) -> None:
    for quote in quoted(row[SEEN]):
        if quote.startswith("switchboard_"):
            assert is_metric(quote), quote
        else:
            assert is_said(quote), quote


def test_a_quote_that_nobody_says_is_found() -> None:
    assert not is_said("storage is unavailable")
    assert not is_said("Cannot listen at … port …: …")
    assert not is_metric("switchboard_connection")


def logged_text(call: ast.Call) -> str | None:
    """Return the line that a call logs as a warning or worse."""
    if called(call) in SERIOUS and isinstance(call.func, ast.Attribute) and call.args:
        return template(call.args[0])
    if called(call) in ("log", "made_record") and len(call.args) > 1:
        return template(call.args[1])
    return None


def all_seen() -> set[str]:
    return {quote for row in ROWS for quote in quoted(row[SEEN])}


def test_every_warning_and_error_of_the_log_has_its_row() -> None:
    written = {text for call in calls("") if (text := logged_text(call))}
    not_serious = {"request", "refused"}
    """Their level is chosen by the call, and is never that of a warning."""
    assert "storage unavailable" in written
    assert written - not_serious - all_seen() == set()


def test_every_close_has_its_row() -> None:
    shown = {
        found for row in ROWS for found in re.findall(r"\b(\d{4}) `(\w+)`", row[SEEN] + row[DO])
    }
    assert shown == {(str(one.code), one.reason) for one in CLOSES}


PROBLEM_TABLES: Final = (
    ("docs/protocol.md", ("status", "problem code")),
    ("docs/http-api.md", ("status", "code of the API")),
    ("docs/admin-api.md", ("status", "code of these routes")),
)


@pytest.mark.parametrize(("name", "head"), PROBLEM_TABLES, ids=lambda value: str(value))
def test_every_refusal_over_http_has_its_row(name: str, head: tuple[str, ...]) -> None:
    shown = {found for row in ROWS for found in re.findall(r"\b(\d{3}) `(\w+)`", row[SEEN])}
    assert {row[:2] for row in page(name).table(*head)} - shown == set()


def test_every_error_of_a_message_has_its_row() -> None:
    codes = {row[0] for row in page("docs/protocol.md").table("error code")}
    assert codes - all_seen() == set()


def test_every_reason_of_readiness_has_its_row() -> None:
    assert set(REASONS.values()) - all_seen() == set()


def refusals_of_settings() -> Iterator[str]:
    """Yield the sentences with which the server does not start, origins apart."""
    for call in calls("base/options.py", "settings"):
        if called(call) == "ValueError" and (text := template(call.args[0])):
            yield text
    for call in calls(""):
        if called(call) == "SettingsError" and isinstance(call.args[0], ast.List):
            yield from filter(None, map(template, call.args[0].elts))


def test_every_setting_that_is_refused_has_its_row() -> None:
    shown = {fold(quote) for quote in all_seen()}
    bare = {fold(text) for text in refusals_of_settings()} - {"… …"}
    assert len(bare) >= 20
    assert bare - shown == set()


def test_every_metric_and_variable_that_is_named_exists() -> None:
    for name in re.findall(r"\bswitchboard_[a-z_]+", PAGE.text):
        assert is_metric(name), name
    for name in re.findall(rf"{ENV_PREFIX}([A-Z_]+)", PAGE.text):
        assert name.lower() in Settings.model_fields


def test_every_command_of_ours_in_a_remedy_exists() -> None:
    named = 0
    for row in ROWS:
        for remedy in quoted(row[DO]):
            words = shlex.split(remedy)
            if len(words) > 1 and words[0] in OWN:
                command, rest = find(words)
                options = {
                    name for one in command.params for name in (*one.opts, *one.secondary_opts)
                }
                assert {word for word in rest if word.startswith("--")} <= options, remedy
                named += 1
    assert named >= 8


def fields_of_the_log() -> set[str]:
    rows = OPERATIONS.table("log message")
    named = {word for row in rows for cell in row[1:] for word in re.findall(r"\w+", cell)}
    return named | {"time", "level", "logger", "message"}


def test_every_line_that_is_searched_for_is_one_of_the_log() -> None:
    lines = {row[0] for row in OPERATIONS.table("log message")} | all_seen()
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] != "logged":
            continue
        [wanted] = words[1:]
        field = re.match(r'"(\w+)":', wanted)
        if field is not None:
            assert field[1] in fields_of_the_log(), command
        else:
            assert any(wanted.strip() in line for line in lines), command


# The commands run


class Shell:
    """A shell in which the names of the page are set, for a server of a test."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        programs = folder / "programs"
        programs.mkdir()
        # The log of a server that systemd starts is in the journal.
        journal = programs / "journalctl"
        journal.write_text(f"#!/bin/sh\nexec cat {shlex.quote(str(server.stderr))}\n")
        journal.chmod(0o755)
        self._url = server.url
        setup = PAGE.example("sh", "setup").text
        for shown, real in (
            ("cd /opt/switchboard", f"cd {shlex.quote(str(ROOT))}"),
            ("http://127.0.0.1:8080", server.url),
            ("=/var/lib/switchboard", f"={shlex.quote(str(server.data_dir))}"),
        ):
            assert setup.count(shown) == 1
            setup = setup.replace(shown, real)
        self._setup = f"PATH={shlex.quote(str(programs))}:$PATH\n{setup}"

    def run(self, command: str) -> "subprocess.CompletedProcess[str]":
        real = command.replace("https://switchboard.example", self._url)
        return subprocess.run(
            ["sh", "-c", f"{self._setup}{real}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The shell of an operator whose server has a user, alice, with a device."""
    folder = tmp_path_factory.mktemp("troubled")
    server = ServerProcess(folder / "server")
    try:
        server.run.add("alice")
        server.issue("phone", "alice")
        yield Shell(server, folder)
    finally:
        server.end()


@pytest.mark.process
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(shell: Shell, command: str) -> None:
    done = shell.run(command)
    assert done.returncode == (1 if command == SAFE_IF_ONE else 0), done
    assert done.stderr == "" or command == SAFE_IF_ONE, done


ANSWERS: Final[dict[str, str]] = {
    "upgrade $URL": "HTTP/1.1 401 ",
    "upgrade https://switchboard.example": "HTTP/1.1 401 ",
    "upgrade $URL -H 'Origin: https://app.example'": "HTTP/1.1 403 ",
    "curl -si $URL/ready": "HTTP/1.1 200 ",
    "curl -si $URL/health": "HTTP/1.1 200 ",
    'logged \'"level":"\'': '"message":"serving"',
}


@pytest.mark.process
@pytest.mark.parametrize("command", ANSWERS)
def test_a_command_shows_what_the_page_says(shell: Shell, command: str) -> None:
    assert command in COMMANDS
    assert ANSWERS[command] in shell.run(command).stdout
