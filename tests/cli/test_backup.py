"""`backup` and `restore` as people call them, without a server and beside one."""

import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from serving import PATIENCE

from app.storage.lock import DataDirLock
from tests.cli.conftest import ROOT, CommandLine, Served


@pytest.fixture
def backup(run: CommandLine, tmp_path: Path) -> Path:
    """A backup with the user `ada`, a device with a session, an API key, and the cookie key."""
    run.add()
    (run.data_dir / "cookie.key").write_text("the key\n")
    run.token()
    run("keys", "add", "shop", "--scope", "send")
    path = tmp_path / "backup.db"
    run("backup", str(path))
    return path


def users(run: CommandLine) -> list[str]:
    return [user["handle"] for user in run.json("users", "list")]


def test_it_says_what_it_wrote_where_how_large_and_how_long_it_took(
    run: CommandLine, backup: Path
) -> None:
    lines = run("backup", str(backup), "--overwrite").stdout.splitlines()
    assert lines[0].startswith(f"Backed up to {backup}: 0.2 MB, verified, in ")
    assert lines[1] == (
        "It holds 0 messages up to offset 0, 1 user, 1 session, 1 API key and the key of the "
        "cookies."
    )
    told = run.json("backup", str(backup), "--overwrite")
    assert (told["file"], told["users"], told["messages"]) == (str(backup), 1, 0)
    assert told["bytes"] == backup.stat().st_size


def test_no_secret_is_shown(run: CommandLine, backup: Path) -> None:
    for arguments in (("backup", str(backup), "--overwrite"), ("restore", str(backup), "--check")):
        for more in ((), ("--json",)):
            assert "the key\n" not in run(*arguments, *more).output


def test_a_folder_gets_a_file_with_the_time_in_its_name_and_keeps_the_newest(
    run: CommandLine, tmp_path: Path
) -> None:
    run.add()
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(1, 4):
        (folder / f"switchboard-2026-01-0{day}T000000Z.db").touch()
    told = run.json("backup", f"{folder}/", "--keep", "2")
    assert [Path(old).name for old in told["removed"]] == [
        "switchboard-2026-01-01T000000Z.db",
        "switchboard-2026-01-02T000000Z.db",
    ]
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["switchboard-2026-01-03T000000Z.db", Path(told["file"]).name]


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (("backup", "{backup}"), "--overwrite", 1),
        (("backup", "{data}/switchboard.db", "--overwrite"), "of the data folder itself", 1),
        (("backup", "{data}/streams.guard"), "of the data folder itself", 1),
        (("backup", "{tmp}/none/x.db"), "No such file or directory", 1),
        (("backup", "{tmp}/none/"), "There is no folder", 1),
        (("backup", "{tmp}/new.db", "--keep", "3"), "--keep", 2),
        (("backup", "{tmp}", "--keep", "0"), "--keep", 2),
        (("backup",), "FILE", 2),
        (("restore", "{backup}"), "--replace", 1),
        (("restore", "{tmp}/none"), "No such file or directory", 1),
        (("restore", "{tmp}"), "Is a directory", 1),
        (("restore", "{data}/server.lock", "--replace"), "not a database", 1),
        (("restore", "{data}/switchboard.db", "--replace"), "the database itself", 1),
        (("restore", "{backup}", "--check", "--replace"), "--check", 2),
    ],
)
def test_an_expected_error_is_one_sentence_and_changes_nothing(
    run: CommandLine,
    backup: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
    status: int,
) -> None:
    places = {"backup": backup, "data": run.data_dir, "tmp": tmp_path}
    before = backup.read_bytes(), (run.data_dir / "switchboard.db").read_bytes()
    words = [word.format(**places) for word in arguments]
    assert sentence in run.refused(*words, status=status)
    assert (backup.read_bytes(), (run.data_dir / "switchboard.db").read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "data"]


def test_a_folder_without_a_database_is_not_made(run: CommandLine, tmp_path: Path) -> None:
    assert "There is no database" in run.refused("backup", str(tmp_path / "x"))
    run.refused("restore", str(ROOT / "README.md"))
    assert list(tmp_path.iterdir()) == []


def test_a_backup_is_put_back_and_the_database_that_was_there_is_kept(
    run: CommandLine, backup: Path
) -> None:
    run.add("bob")
    lines = run("restore", str(backup), "--replace").stdout.splitlines()
    assert lines[0].startswith(f"Put back {backup}, made ")
    assert users(run) == ["ada"]
    [aside] = run.data_dir.glob("switchboard.db.replaced-*")
    assert lines[1] == f"The database that was there is kept as {aside}."
    run("restore", str(aside), "--replace")
    assert users(run) == ["ada", "bob"]


def test_it_says_that_what_ended_since_holds_again(run: CommandLine, backup: Path) -> None:
    run("tokens", "revoke", "1")
    run("keys", "revoke", "1")
    said = run("restore", str(backup), "--replace").stdout
    assert "1 session of the backup can be used, also those that ended since" in said
    assert "API keys that can be used, also those revoked since: shop." in said
    assert len(run.json("tokens", "list", "ada")) == 1


def test_everybody_can_be_signed_out(run: CommandLine, backup: Path) -> None:
    said = run("restore", str(backup), "--replace", "--sign-out-everybody").stdout
    assert "Everybody is signed out: 1 session ended." in said
    assert run.json("tokens", "list", "ada") == []


def test_on_a_new_machine_the_cookie_key_comes_from_the_backup(
    run: CommandLine, backup: Path, tmp_path: Path
) -> None:
    new = CommandLine(tmp_path / "new")
    new("restore", str(backup))
    assert users(new) == ["ada"]
    key = new.data_dir / "cookie.key"
    assert key.read_text() == "the key\n"
    for path in (new.data_dir, key, new.data_dir / "switchboard.db"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_what_is_put_back_belongs_to_the_owner_of_the_folder(
    run: CommandLine, backup: Path, tmp_path: Path
) -> None:
    # Only root can give files to somebody else.
    owner, group = (12_345, 12_345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    new = CommandLine(tmp_path / "new")
    new.data_dir.mkdir(mode=0o700)
    os.chown(new.data_dir, owner, group)
    new("restore", str(backup))
    made = {path.name: path.stat().st_uid for path in new.data_dir.iterdir()}
    assert set(made) == {"switchboard.db", "streams.guard", "server.lock", "cookie.key"}
    assert set(made.values()) == {owner}


def test_a_key_that_is_there_is_not_replaced(run: CommandLine, backup: Path) -> None:
    (run.data_dir / "cookie.key").write_text("a newer key\n")
    run("restore", str(backup), "--replace")
    assert (run.data_dir / "cookie.key").read_text() == "a newer key\n"


def test_a_key_of_the_settings_is_in_no_backup(
    run: CommandLine, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHBOARD_COOKIE_KEYS", "A" * 43 + "=")
    assert run.json("backup", str(backup), "--overwrite")["cookie_key"] is False


def test_a_check_changes_nothing_and_says_what_is_in_it(run: CommandLine, backup: Path) -> None:
    run.add("bob")
    assert f"{backup} is sound: 0.2 MB, made " in run("restore", str(backup), "--check").stdout
    assert run.json("restore", str(backup), "--check")["users"] == 1
    assert users(run) == ["ada", "bob"]


def test_a_folder_that_is_in_use_is_refused_after_a_moment(run: CommandLine, backup: Path) -> None:
    with DataDirLock(run.data_dir):
        assert "Stop the server first." in run.refused("restore", str(backup), "--replace")
    assert not list(run.data_dir.glob("*.replaced-*"))


@pytest.mark.process
def test_beside_a_server_a_backup_is_made_and_a_restore_refused(
    served: Served, tmp_path: Path
) -> None:
    run = served.run
    run("send", "note.text", '"x"', "--user", "ada", "--store", "log")
    target = tmp_path / "backup.db"
    told = run.json("backup", str(target))
    assert (told["messages"], told["last"] >= 1) == (1, True)
    assert run.json("restore", str(target), "--check")["messages"] == 1
    refused = run.refused("restore", str(target), "--replace")
    assert "server.lock" in refused
    assert refused.endswith("Stop the server first.")
    assert run.json("stream", "info", "ada")["rows"] == 1


@pytest.mark.process
def test_progress_is_shown_on_a_terminal_alone(run: CommandLine, backup: Path) -> None:
    ours, theirs = pty.openpty()
    arguments = ("backup", str(backup), "--overwrite", "--json", "--data-dir", str(run.data_dir))
    outcome = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=PATIENCE,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert "Copying" in shown
    assert "100%" in shown
    assert "Checking" in shown
    assert json.loads(outcome.stdout)["users"] == 1
