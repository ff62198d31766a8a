"""`stream`, durable `send` and `listen --from`: on a folder, and with a server."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from serving import PATIENCE

from tests.cli.conftest import ROOT, CommandLine, Process, Served, Spawn

pytestmark = pytest.mark.process


def epoch(run: CommandLine) -> str:
    return str(run.json("stream", "info")["epoch"])


# Without a server


def test_an_unused_folder_keeps_nothing(run: CommandLine) -> None:
    run.add()
    info = run.json("stream", "info", "ada")
    assert (info["last"], info["rows"], info["user"]["devices"]) == (0, 0, [])
    assert "no devices" in run("stream", "info", "ada").stdout
    assert run("stream", "show", "ada").stdout == "Nothing is kept.\n"
    assert run("stream", "show", "--everyone", "--json").stdout == ""


@pytest.mark.parametrize("command", ["info", "show"])
def test_an_unknown_user_is_one_sentence(run: CommandLine, command: str) -> None:
    run.add()
    assert "no such user" in run.refused("stream", command, "bob")


@pytest.mark.parametrize(
    "arguments",
    [
        ("stream", "show"),
        ("stream", "show", "ada", "--everyone"),
        ("stream", "show", "ada", "--after", "-1"),
        ("stream", "show", "ada", "--limit", "0"),
        ("stream", "reset"),
        ("listen", "ada", "--ack"),
        ("listen", "ada", "--from", "yesterday"),
        ("listen", "ada", "--from", "-1"),
        ("listen", "ada", "--from", str(1 << 63)),
        ("listen", "ada", "--store", "latest"),
        ("send", "note.text", "--everyone", "--store", "latest"),
        ("send", "note.text", "--everyone", "--store", "log", "--key", "x"),
        ("send", "note.text", "--everyone", "--key", "x"),
        ("send", "note.text", "--everyone", "--ttl", "60"),
        ("send", "note.text", "--everyone", "--store", "log", "--ttl", "0"),
        ("send", "note.text", "--everyone", "--store", "log", "--message-id", "x" * 129),
        ("send", "note.text", "--everyone", "--delete"),
        ("send", "note.text", "1", "--everyone", "--key", "x", "--delete"),
        ("send", "note.text", "--everyone", "--key", "x", "--delete", "--store", "none"),
        ("send", "note.text", "--everyone", "--key", "x", "--delete", "--ttl", "5"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_status_2(run: CommandLine, arguments: tuple[str, ...]) -> None:
    run.add()
    assert run.refused(*arguments, status=2).startswith("Error: ")


def test_without_a_terminal_a_reset_has_to_be_confirmed_beforehand(run: CommandLine) -> None:
    run.add()
    before = epoch(run)
    assert "--yes" in run.refused("stream", "reset", status=2)
    assert epoch(run) == before
    done = run.json("stream", "reset", "--yes")
    assert done["before"] == before
    assert done["epoch"] == epoch(run) != before


@pytest.mark.parametrize(("answer", "status"), [("n\n", 1), ("y\n", 0)])
def test_on_a_terminal_a_reset_asks(run: CommandLine, answer: str, status: int) -> None:
    run.add()
    before = epoch(run)
    keyboard, stdin = pty.openpty()
    arguments = ("stream", "reset", "--data-dir", str(run.data_dir))
    os.write(keyboard, answer.encode())
    ended = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(stdin)
    os.close(keyboard)
    assert ended.returncode == status
    assert (epoch(run) == before) is (status == 1)


# With a server


def send(served: Served, *options: str, payload: Any = 1) -> dict[str, Any]:
    """Send a durable `app.n` to ada and return the result."""
    text = json.dumps(payload)
    sent = served.run.json("send", "app.n", text, "--user", "ada", "--store", *options)
    assert isinstance(sent, dict)
    return sent


def replayed(served: Served, *options: str, count: int) -> Sequence[dict[str, Any]]:
    """Return the first `count` messages that a listener gets."""
    listener = served.listen("ada", "--json", "--count", str(count), *options)
    messages = [json.loads(listener.line()) for _ in range(count)]
    assert listener.status() == 0
    return messages


def payloads(messages: Sequence[dict[str, Any]]) -> list[Any]:
    return [message["payload"] for message in messages]


def started(listener: Process) -> str:
    """Return the sentence that says where the listener starts."""
    return listener.state()


def test_a_durable_message_is_kept_and_its_repeat_is_none(served: Served) -> None:
    arguments = ("send", "app.n", "1", "--user", "ada", "--store", "log", "--message-id", "m")
    first = served.run(*arguments).stdout
    assert first.startswith("Kept at ")
    assert "delivered to no device" in first
    offset = first.split(";")[0].split()[-1]
    assert served.run(*arguments).stdout.startswith(f"Kept at {offset} before")
    assert served.run.json(*arguments)["duplicate"] is True
    conflicting = [*arguments[:2], "2", *arguments[3:]]
    assert "message_id" in served.run.refused(*conflicting)


def test_what_is_kept_is_shown_with_everything(served: Served) -> None:
    first = send(served, "log", "--ttl", "600", payload={"text": "x" * 100, "none": None})
    second = send(served, "latest", "--key", "theme", payload=None)
    rows = [
        json.loads(line)
        for line in served.run("stream", "show", "ada", "--json").stdout.splitlines()
    ]
    assert [row["offset"] for row in rows] == [first["offset"], second["offset"]]
    assert rows[0]["payload"] == {"text": "x" * 100, "none": None}
    assert rows[0]["expires_at"] == rows[0]["created_at"] + 600_000
    assert (rows[1]["key"], rows[1]["payload"]) == ("theme", None)
    lines = served.run("stream", "show", "ada").stdout.splitlines()
    assert len(lines) == 3
    assert "x…" in lines[1]
    assert lines[2].split()[-4:] == ["theme", "-", "4", "null"]


def test_rows_are_shown_from_an_offset_on_up_to_a_limit(served: Served) -> None:
    offsets = [send(served, "log")["offset"] for _ in range(4)]
    where = ("--after", str(offsets[0]), "--limit", "2", "--json")
    lines = served.run("stream", "show", "ada", *where).stdout.splitlines()
    assert [json.loads(line)["offset"] for line in lines] == offsets[1:3]


def test_more_rows_than_a_page_are_shown_each_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    offsets = [send(served, "log")["offset"] for _ in range(5)]
    monkeypatch.setattr("app.cli.stream.PAGE_ROWS", 2)
    lines = served.run("stream", "show", "ada", "--json").stdout.splitlines()
    assert [json.loads(line)["offset"] for line in lines] == offsets


def test_a_listener_replays_from_the_start_or_from_an_offset(served: Served) -> None:
    offsets = [send(served, "log", payload=number)["offset"] for number in range(3)]
    assert payloads(replayed(served, "--from", "start", count=3)) == [0, 1, 2]
    assert payloads(replayed(served, "--from", str(offsets[0]), count=2)) == [1, 2]


def test_from_the_cursor_only_what_was_not_acknowledged_comes_again(served: Served) -> None:
    cursor = ("--from", "cursor", "--device", "phone")
    # The first acknowledgement makes the cursor.
    phone = served.listen("ada", *cursor, "--ack", "--count", "1")
    send(served, "log", payload="while here")
    assert phone.status() == 0
    send(served, "log", payload="while away")
    send(served, "log", payload="and later")
    assert payloads(replayed(served, *cursor, count=2)) == ["while away", "and later"]
    assert payloads(replayed(served, *cursor, "--ack", count=1)) == ["while away"]
    assert payloads(replayed(served, *cursor, count=1)) == ["and later"]


def test_the_latest_values_come_first_and_are_marked(served: Served) -> None:
    for shade in ("light", "dark"):
        send(served, "latest", "--key", "theme", payload=shade)
    listener = served.listen("ada", "--from", "live")
    assert started(listener).startswith("Live")
    assert ' snapshot]  app.n "theme"  "dark"' in listener.line()
    sent = send(served, "latest", "--key", "theme", payload="red")
    assert f'[{sent["offset"]}]  app.n "theme"  "red"' in listener.line()


def test_a_value_is_deleted_for_who_listens_and_for_who_comes_later(served: Served) -> None:
    send(served, "latest", "--key", "theme", payload="dark")
    listener = served.listen("ada", "--from", "live")
    assert listener.line().endswith('"dark"')
    delete = ("send", "app.n", "--user", "ada", "--key", "theme", "--delete")
    told = served.run(*delete).stdout
    assert told.startswith("Deleted at ")
    offset = told.split(";")[0].split()[-1]
    assert listener.line().endswith(f'[{offset}]  app.n "theme"  (deleted)')
    [row] = served.run("stream", "show", "ada", "--json").stdout.splitlines()
    assert json.loads(row).items() >= {"deleted": True, "key": "theme", "payload": None}.items()
    assert served.run("stream", "show", "ada").stdout.splitlines()[1].split()[-1] == "(deleted)"
    assert served.run.json("stream", "info", "ada")["user"]["keys"] == 0


def test_a_listener_in_json_tells_when_a_message_was_taken_and_when_it_came(
    served: Served,
) -> None:
    sent = send(served, "log")
    [row] = served.run("stream", "show", "ada", "--json").stdout.splitlines()
    [heard] = replayed(served, "--from", "start", count=1)
    assert heard["offset"] == sent["offset"]
    assert heard["time"] == json.loads(row)["created_at"] <= heard["received_at"]


def test_an_offset_that_was_never_given_out_is_a_reset(served: Served) -> None:
    listener = served.listen("ada", "--from", "999999")
    assert started(listener).startswith("Reset: position 999999 is none of this server's")


def test_from_an_offset_whose_messages_were_removed_what_is_kept_is_replayed(
    run: CommandLine, spawn: Spawn
) -> None:
    run.add()
    folder = ("--data-dir", str(run.data_dir))
    first = spawn("serve", "--port", "0", *folder)
    assert first.line()
    for number in range(5):
        run("send", "app.n", str(number), "--user", "ada", "--store", "log")
    assert first.interrupt() == 0
    assert spawn("serve", "--port", "0", "--retention-rows", "2", *folder).line()
    while not run.json("stream", "info", "ada")["user"]["floor"]:
        pass
    listener = spawn("listen", "ada", "--from", "0", "--count", "2", *folder)
    assert listener.state().startswith("Connected to ")
    assert listener.state() == (
        "Reset: some of what followed position 0 was removed. What is kept follows, "
        "replayed up to 5; fetch your state again."
    )
    assert [listener.line().split("  ", 1)[1] for _ in range(2)] == [
        "[4 replayed]  app.n  3",
        "[5 replayed]  app.n  4",
    ]


def test_verbose_shows_positions_and_in_json_as_they_are(served: Served) -> None:
    verbose = ("ada", "--from", "live", "-v")
    listener = served.listen(*verbose, "--json")
    assert json.loads(listener.line())["type"] == "connected"
    assert json.loads(listener.line())["payload"]["live"] is True
    data_dir = ("--data-dir", str(served.run.data_dir))
    talkative = served.spawn("listen", *verbose, "--device", "laptop", *data_dir)
    told = [talkative.state().split()[0] for _ in range(4)]
    assert told == ["connected", "Connected", "Live:", "position"]


def test_a_kept_line_reaches_a_device_that_was_away(served: Served) -> None:
    replayed_later = ("--device", "laptop", "--from", "cursor", "--ack")
    laptop = served.listen("ada", *replayed_later, "--count", "1")
    send(served, "log", payload="makes it a cursor")
    assert laptop.status() == 0
    phone = served.listen("ada", "--device", "phone", "--store", "log")
    phone.type("Dinner!")
    assert phone.state().startswith("Kept at ")
    assert payloads(replayed(served, *replayed_later, count=1)) == [{"text": "Dinner!"}]


def test_a_reset_is_told_to_those_who_listen_and_is_shown_for_cursors(served: Served) -> None:
    send(served, "log")
    listener = served.listen("ada", "--from", "start", "--ack")
    assert started(listener).startswith("Resumed above ")
    listener.line()
    done = served.run.json("stream", "reset", "--yes")
    assert done["connections_closed"] == 1
    assert "1001 stream_reset" in listener.state()
    while not (state := listener.state()).startswith("Reset"):
        assert state
    sent = send(served, "log", payload="after")
    assert sent["epoch"] == done["epoch"]
    assert "after" in listener.line()
