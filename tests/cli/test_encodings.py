"""Bytes that are no UTF-8, on the command line and on standard input."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.cli.conftest import PASSWORD, ROOT, CommandLine

pytestmark = pytest.mark.process

LATIN_1 = b"caf\xe9"


def run_bytes(
    arguments: Iterable[bytes | str], data_dir: Path, stdin: bytes = b"", locale: str = "C.UTF-8"
) -> tuple[int, str]:
    """Return the exit status of a command, and what it printed on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments, "--data-dir", str(data_dir)],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        env={**os.environ, "LC_ALL": locale},
        check=False,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "add", LATIN_1, "--password-stdin"),
        ("users", "disable", LATIN_1),
        ("devices", "rename", "1", LATIN_1),
        ("tokens", "list", LATIN_1),
        ("keys", "add", LATIN_1, "--scope", "read"),
        ("stream", "show", LATIN_1),
        ("send", b"note." + LATIN_1, "1", "--everyone"),
        ("send", "note.text", "1", "--user", "ada", "--store", "log", "--message-id", LATIN_1),
        ("send", "note.text", "1", "--user", "ada", "--store", "latest", "--key", LATIN_1),
        ("send", "note.text", b'"' + LATIN_1 + b'"', "--everyone"),
        ("listen", LATIN_1),
        ("listen", LATIN_1, "--url", "http://127.0.0.1:1", "--password-stdin"),
    ],
    ids=str,
)
@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_an_argument_that_is_not_utf8_is_a_sentence_and_changes_nothing(
    run: CommandLine, arguments: tuple[bytes | str, ...], locale: str
) -> None:
    run.add()
    status, told = run_bytes(arguments, run.data_dir, PASSWORD.encode(), locale)
    assert status in (1, 2)
    assert told.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in told
    assert [user["handle"] for user in run.json("users", "list")] == ["ada"]


def test_a_password_that_is_not_utf8_is_refused_instead_of_another_one_stored(
    run: CommandLine,
) -> None:
    arguments = ("users", "add", "ada", "--password-stdin")
    status, told = run_bytes(arguments, run.data_dir, b"correct horse \xe9\n")
    assert (status, told.splitlines()[-1]) == (
        2,
        "Error: The password on standard input is not UTF-8.",
    )
    assert not run.data_dir.exists()


def test_a_payload_on_standard_input_that_is_not_utf8_is_refused(run: CommandLine) -> None:
    run.add()
    for locale in ("C", "C.UTF-8"):
        status, told = run_bytes(
            ("send", "note.text", "-", "--everyone"), run.data_dir, b'"caf\xe9"', locale
        )
        assert status == 2
        assert "it is not UTF-8." in told


def test_a_byte_order_mark_is_no_part_of_what_follows_it(run: CommandLine) -> None:
    arguments = ("send", "note.text", "-", "--everyone")
    run.add()
    status, told = run_bytes(arguments, run.data_dir, b"\xef\xbb\xbf{}")
    assert (status, "needs a running server" in told) == (1, True)


def test_a_data_folder_that_sqlite_cannot_name_is_refused(run: CommandLine) -> None:
    folder = run.data_dir.parent / os.fsdecode(LATIN_1)
    status, told = run_bytes(("users", "list"), folder)
    assert (status, told.count("\n")) == (2, 1)
    assert told.startswith("Error: ")
    assert "has to be UTF-8" in told
    assert not folder.exists()
