"""A server whose database is gone says so, and no start makes an empty one in its place."""

import signal
from pathlib import Path

import pytest
from serving import PATIENCE

from app.storage.database import DATABASE_NAME
from app.streams.generation import GUARD_NAME
from tests.cli.conftest import PASSWORD, CommandLine
from tests.process.conftest import Start
from tests.process.test_refusing import refusal


def lose(data_dir: Path, how: str) -> None:
    path = data_dir / DATABASE_NAME
    if how == "removed":
        path.unlink()
    elif how == "emptied":
        path.write_bytes(b"")
    else:
        path.rename(data_dir / "old.db")


@pytest.mark.parametrize("how", ["removed", "emptied", "renamed"])
def test_neither_a_start_nor_a_command_makes_an_empty_database(start: Start, how: str) -> None:
    server = start()
    lose(server.data_dir, how)
    server.signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0
    sentence = refusal(server.data_dir, 1)
    assert str(server.data_dir / DATABASE_NAME) in sentence
    assert GUARD_NAME in sentence
    for arguments in (
        ("users", "add", "bob", "--password-stdin"),
        ("users", "list"),
        ("tokens", "list", "ada"),
        ("stream", "info"),
        ("stream", "reset", "--yes"),
        ("keys", "add", "shop", "--scope", "send"),
        ("backup", str(server.data_dir.parent / "backup.db")),
    ):
        error = server.run(*arguments, stdin=PASSWORD, status=1).stderr
        assert sentence in error, arguments
    left = server.data_dir / DATABASE_NAME
    assert not left.exists() or left.stat().st_size == 0


def test_the_log_tells_once_and_the_same_file_is_taken_again(start: Start) -> None:
    server = start()
    path = server.data_dir / DATABASE_NAME
    path.rename(path.with_name("aside"))
    for _ in range(3):
        server.run("users", "add", "bob", "--password-stdin", stdin=PASSWORD, status=1)
    assert server.get("/ready")[0] == 503
    path.with_name("aside").rename(path)
    server.run("users", "add", "bob", "--password-stdin", stdin=PASSWORD)
    server.signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0
    critical = [line for line in server.log if line["level"] == "critical"]
    assert [line["path"] for line in critical] == [str(path)]
    assert CommandLine(server.data_dir).json("users", "list")[1]["handle"] == "bob"


def test_new_database_begins_anew_and_is_for_nothing_else(start: Start) -> None:
    server = start()
    lose(server.data_dir, "removed")
    server.signal(signal.SIGTERM)
    server.process.wait(PATIENCE)
    program = start(flags=["--new-database"])
    assert program.run.json("users", "list") == []
    program.run.add("eve")
    program.signal(signal.SIGTERM)
    assert program.process.wait(PATIENCE) == 0
    [aside] = program.data_dir.glob("lost-*")
    assert (aside / GUARD_NAME).exists()
    assert "There is a database" in refusal(program.data_dir, 2, "--new-database")
    again = start()
    assert [user["handle"] for user in again.run.json("users", "list")] == ["eve"]
