"""`connections` as people call it, on a server that runs."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Process, Served, Spawn


def test_without_a_server_nobody_is_connected(run: CommandLine) -> None:
    run.add()
    for arguments in (("list",), ("kick", "--user", "ada"), ("tail",)):
        assert "needs a running server" in run.refused("connections", *arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("list", "--address", "nowhere"), "such as 10.0.0.0/8"),
        (("kick",), "Give an ID"),
        (("kick", "x", "--code", "1000"), "1000"),
        (("list", "--device", "0"), "0"),
    ],
)
def test_wrong_usage_is_told_in_words(
    run: CommandLine, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in run.refused("connections", *arguments, status=2)


@pytest.mark.process
def test_who_is_connected_is_listed_and_closed(served: Served) -> None:
    run = served.run
    assert run("connections", "list").stdout == "Nobody is connected.\n"
    served.listen("ada", "--device", "phone")
    heading, row = run("connections", "list").stdout.splitlines()
    assert heading.split() == [
        *("ID", "USER", "DEVICE", "INSTANCE", "ADDRESS", "SINCE", "HEARD", "STATE"),
        *("LAG", "WAITS", "IN", "OUT", "DROPPED"),
    ]
    [found] = run.json("connections", "list", "--user", "ada")
    assert found["connection_id"] == row.split()[0]
    assert (found["user_handle"], found["device_name"], found["address"]) == (
        *("ada", "phone", "127.0.0.1"),
    )
    assert run("connections", "list", "--address", "192.0.2.0/24").stdout == (
        "There are no such connections.\n"
    )
    told = run("connections", "kick", found["connection_id"], "--dry-run").stdout
    assert told == "Would close 1 connection with 4004 closed_by_operator; clients come back.\n"
    told = run("connections", "kick", found["connection_id"]).stdout
    assert told == "Closed 1 connection with 4004 closed_by_operator; clients come back.\n"
    assert run.refused("connections", "kick", found["connection_id"]) == (
        "Error: No connection matches."
    )
    assert "no such user" in run.refused("connections", "list", "--user", "bob")


@pytest.mark.process
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_goes_in_and_out_is_followed_until_ctrl_c(served: Served, form: str) -> None:
    more = ("--json",) if form == "json" else ()
    tail = served.start("connections", "tail", "--user", "ada", "--types", "note.*", *more)
    assert tail.state() == "Following 0 connections; Ctrl-C ends it."
    phone = served.listen("ada", "--device", "phone")
    served.run("send", "note.text", '"secret"', "--user", "ada")
    lines = [tail.line(), tail.line()]
    if form == "json":
        connected, message = map(json.loads, lines)
        assert (connected["what"], message["what"], message["type"]) == (
            *("connected", "out", "note.text"),
        )
        assert "payload" not in message
    else:
        assert lines[0].endswith("connected")
        assert "  out  note.text  " in lines[1]
        assert lines[1].endswith(" bytes")
    assert tail.interrupt() == 0
    assert phone.line() != ""


@pytest.mark.process
def test_payloads_are_shown_to_whoever_asks(served: Served) -> None:
    tail = served.start("connections", "tail", "--types", "note.text", "--payloads")
    tail.state()
    served.listen("ada", "--device", "phone")
    served.run("send", "note.text", '{"text":"hello"}', "--user", "ada")
    assert tail.line().endswith("connected")
    assert tail.line().endswith('{"text":"hello"}')


@pytest.mark.process
def test_a_tail_goes_on_when_the_server_is_back(tmp_path: Path, spawn: Spawn) -> None:
    def serve() -> Process:
        server = spawn(
            *("serve", "--port", "0", "--json", "--data-dir", str(tmp_path)),
            stderr=subprocess.DEVNULL,
        )
        server.line()
        return server

    first = serve()
    tail = spawn("connections", "tail", "--data-dir", str(tmp_path))
    assert tail.state() == "Following 0 connections; Ctrl-C ends it."
    assert first.interrupt(signal.SIGTERM) == 0
    assert tail.state() == "The server has stopped; waiting for it."
    serve()
    assert tail.state() == "The server is back. Following 0 connections; Ctrl-C ends it."
    assert tail.interrupt() == 0
