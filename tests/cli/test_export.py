"""`users export` and `prune` as people call them, with and without a server."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Served


def test_a_user_is_exported_to_standard_output_or_to_a_private_file(
    run: CommandLine, tmp_path: Path
) -> None:
    run.add()
    token = run.token()
    printed = json.loads(run("users", "export", "ADA").stdout)
    assert printed["user"]["handle"] == "ada"
    target = tmp_path / "ada.json"
    before = os.umask(0)
    try:
        told = run("users", "export", "ada", "--output", str(target)).stdout
    finally:
        os.umask(before)
    assert told == f"Exported ada to {target}: 0 messages, {target.stat().st_size:,} bytes.\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert json.loads(target.read_text())["devices"] == printed["devices"]
    assert token not in target.read_text()
    assert [one.name for one in tmp_path.iterdir()].count("ada.json.partial") == 0


def test_a_file_that_is_there_stays_unless_it_is_to_be_replaced(
    run: CommandLine, tmp_path: Path
) -> None:
    run.add()
    target = tmp_path / "ada.json"
    target.write_text("precious")
    assert "--overwrite" in run.refused("users", "export", "ada", "--output", str(target))
    assert target.read_text() == "precious"
    run("users", "export", "ada", "--output", str(target), "--overwrite")
    assert json.loads(target.read_text())["user"]["handle"] == "ada"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    told = run.json("users", "export", "ada", "--output", str(target), "--overwrite")
    assert told == {"file": str(target), "messages": 0, "bytes": target.stat().st_size}


@pytest.mark.parametrize("more", [(), ("--output", "{tmp}/x.json")])
def test_what_cannot_be_exported_is_told_and_leaves_no_file(
    run: CommandLine, tmp_path: Path, more: tuple[str, ...]
) -> None:
    more = tuple(one.format(tmp=tmp_path) for one in more)
    assert "no database" in run.refused("users", "export", "ada", *more)
    run.add()
    assert "no such user" in run.refused("users", "export", "bob", *more)
    assert not list(tmp_path.glob("x.json*"))


@pytest.mark.process
def test_an_export_beside_a_server_has_what_was_sent(served: Served) -> None:
    served.run("send", "note.text", '{"text":"kept"}', "--user", "ada", "--store", "log")
    found = json.loads(served.run("users", "export", "ada").stdout)
    assert [one["payload"] for one in found["messages"]] == [{"text": "kept"}]


def test_prune_tells_each_kind_and_what_a_dry_run_would_remove(run: CommandLine) -> None:
    run.add()
    told = run("prune", "--dry-run").stdout.splitlines()
    assert [line.split()[:2] for line in told[:-1]] == [
        [kind, "0"] for kind in ("messages", "sessions", "jwts", "devices", "users", "leftovers")
    ]
    assert told[-1].startswith("Would remove what was past at ")
    assert run.json("prune")["dry_run"] is False


@pytest.mark.process
def test_prune_beside_a_server_is_the_servers(served: Served) -> None:
    assert served.run.json("prune")["messages"] == 0
