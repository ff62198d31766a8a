"""Commands on a data folder that no server uses."""

import json
import stat
import subprocess
from pathlib import Path

import pytest

from app.cli import running
from tests.cli.conftest import PASSWORD, ROOT, CommandLine


def test_a_user_is_added_to_a_folder_that_was_not_there(run: CommandLine) -> None:
    run.add()
    assert stat.S_IMODE(run.data_dir.stat().st_mode) == 0o700
    [user] = run.json("users", "list")
    assert (user["handle"], user["roles"], user["state"]) == ("ada", [], "active")


@pytest.mark.parametrize("kind", ["users", "devices", "keys"])
def test_a_list_tells_how_to_go_on_after_its_limit(run: CommandLine, kind: str) -> None:
    for number, handle in enumerate(("ada", "bob", "eve")):
        run.add(handle)
        run.token(handle, f"device-{number:04}")
        run("keys", "add", handle, "--scope", "send")
    first = run(kind, "list", "--limit", "2", "--json")
    numbers = [one["id"] for one in json.loads(first.stdout)]
    assert first.stderr == f"There are more: --after {numbers[-1]}\n"
    rest = run(kind, "list", "--after", str(numbers[-1]), "--json")
    numbers += [one["id"] for one in json.loads(rest.stdout)]
    assert (numbers, rest.stderr) == ([1, 2, 3], "")


def test_a_list_longer_than_a_page_is_shown_whole(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "PAGE_ROWS", 2)
    for handle in ("ada", "bob", "eve", "joe", "zoe"):
        run.add(handle)
    whole = run("users", "list")
    assert [row.split()[1] for row in whole.stdout.splitlines()[1:]] == [
        *("ada", "bob", "eve", "joe", "zoe")
    ]
    assert len(run.json("users", "list", "--limit", "3")) == 3


def test_an_admin_has_the_role(run: CommandLine) -> None:
    added = run.json("users", "add", "root", "--admin", "--password-stdin", stdin=PASSWORD)
    assert added["roles"] == ["admin"]


def test_a_password_is_never_an_argument_and_never_asked_for_without_a_terminal(
    run: CommandLine,
) -> None:
    assert "--password-stdin" in run.refused("users", "add", "ada", status=2)


def test_an_empty_password_is_refused(run: CommandLine) -> None:
    run.refused("users", "add", "ada", "--password-stdin", stdin="\n", status=2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("users", "disable", "bob"), "no such user"),
        (("users", "passwd", "bob", "--password-stdin"), "no such user"),
        (("devices", "revoke", "9"), "no such device"),
        (("devices", "rename", "9", "x"), "no such device"),
        (("devices", "list", "bob"), "no such user"),
        (("tokens", "revoke", "9"), "no such session"),
        (("tokens", "revoke", "-"), "no such session"),
        (("tokens", "list", "bob"), "no such user"),
        (("send", "note.text", "--everyone"), "needs a running server"),
        (("listen", "ada"), "needs a running server"),
        (("limits",), "needs a running server"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_expected_error_is_one_sentence_and_status_1(
    run: CommandLine, arguments: tuple[str, ...], sentence: str
) -> None:
    run.add()
    result = run(*arguments, stdin=f"{PASSWORD}\n", status=1)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(".")
    assert sentence in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("devices", "revoke", "x"),
        ("devices", "revoke", "0"),
        ("devices", "revoke", str(1 << 63)),
        ("tokens", "revoke", "x"),
        ("tokens", "revoke", str(1 << 63)),
        ("tokens", "issue", "ada"),
        ("send", "note.text", "{}"),
        ("send", "note.text", "{}", "--everyone", "--user", "ada"),
        ("send", "note.text", "{", "--everyone"),
        ("send", "note.text", "NaN", "--everyone"),
        ("send", "note.text", '1, "type": "ping"', "--everyone"),
        ("send", "note.text", "123456789012345678901234567890", "--everyone"),
        ("send", "note.text", "{}", "--device", "0"),
        ("listen", "--url", "ftp://example.org", "ada"),
        ("listen", "--count", "0", "ada"),
        ("users", "fly"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(run: CommandLine, arguments: tuple[str, ...]) -> None:
    run.add()
    assert run.refused(*arguments, status=2).startswith("Error: ")


@pytest.mark.parametrize("noun", ["users", "devices"])
def test_looking_makes_no_folder(run: CommandLine, noun: str) -> None:
    assert "no database" in run.refused(noun, "list")
    assert not run.data_dir.exists()


def test_a_token_stands_alone_on_stdout(run: CommandLine) -> None:
    run.add()
    token = run.token()
    assert len(token.split()) == 1
    [session] = run.json("tokens", "list", "ada")
    run("tokens", "revoke", "-", stdin=token)
    assert run.json("tokens", "list", "ada") == []
    assert "no such session" in run.refused("tokens", "revoke", str(session["session_id"]))


def test_a_device_is_listed_renamed_and_revoked(run: CommandLine) -> None:
    run.add()
    run.token()
    [device] = run.json("devices", "list")
    number = str(device["id"])
    run("devices", "rename", number, "Kitchen")
    assert run.json("devices", "list", "ada")[0]["device_name"] == "Kitchen"
    run("devices", "revoke", number)
    assert run.json("devices", "list") == []
    assert run.json("devices", "list", "--all")[0]["id"] == device["id"]


def test_a_name_that_looks_like_markup_is_shown_as_it_is(run: CommandLine) -> None:
    run.add()
    run.token()
    run("devices", "rename", "1", "[bold]x[/bold]")
    assert "[bold]x[/bold]" in run("devices", "list").stdout


def test_a_table_that_is_no_terminals_has_one_line_a_row(run: CommandLine) -> None:
    run.add("a" * 64)
    run.add("b" * 64)
    assert len(run("users", "list").stdout.splitlines()) == 3


def test_a_user_is_disabled_enabled_and_deleted(run: CommandLine) -> None:
    run.add()
    run("users", "disable", "ada")
    assert "disabled" in run("users", "list").stdout
    assert "is disabled" in run.refused(
        "tokens", "issue", "ada", "--device-uuid", "device-0001", "--device-type", "web"
    )
    run("users", "enable", "ADA")
    run.token()
    run("users", "delete", "ada", "--yes")
    assert run.json("users", "list") == []


def test_deleting_asks_first(run: CommandLine) -> None:
    run.add()
    run("users", "delete", "ada", stdin="n\n", status=1)
    assert len(run.json("users", "list")) == 1


def test_a_folder_that_is_no_folder_is_an_expected_error(run: CommandLine) -> None:
    run.data_dir.write_text("x")
    assert "File exists" in run.refused("users", "add", "ada", "--password-stdin", stdin=PASSWORD)


def test_a_file_that_is_no_database_is_an_expected_error(run: CommandLine) -> None:
    run.data_dir.mkdir()
    (run.data_dir / "switchboard.db").write_bytes(b"no database, whatever its name says" * 99)
    assert "not a database" in run.refused("users", "list")


@pytest.mark.process
def test_the_wrapper_works_from_any_folder_and_keeps_it(run: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise SystemExit('the wrong app')")
    added = subprocess.run(
        [ROOT / "scripts/switchboard", "users", "add", "ada", "--password-stdin"],
        env={"SWITCHBOARD_DATA_DIR": "data"},
        cwd=tmp_path,
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (added.returncode, added.stderr) == (0, "")
    assert len(run.json("users", "list")) == 1
