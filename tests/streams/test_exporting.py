"""An export has all that is kept of one user, nothing of others, and no secret."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.base.errors import DatabaseFailed, Problem
from app.storage.database import Database
from app.streams.base import Append
from app.streams.exporting import FORMAT, FORMAT_VERSION, export_user
from app.streams.sql import SqlStreamLog

ADA, BOB = 1, 2


async def write(database: Database, statement: str, *values: object) -> None:
    async with database.write() as connection:
        await connection.exec_driver_sql(statement, values)


@pytest.fixture(autouse=True)
async def people(database: Database, streams: SqlStreamLog) -> None:
    """Ada and Bob, each with a device, a session, and what they keep."""
    for user, handle in ((ADA, "ada"), (BOB, "bob")):
        await write(
            database,
            "INSERT INTO users (id, handle, handle_key, password_hash, roles, created_at)"
            " VALUES (?, ?, ?, 'SECRET of the password', '[\"admin\"]', 5)",
            *(user, handle.title(), handle),
        )
        await write(
            database,
            "INSERT INTO devices (id, user_id, device_uuid, device_type, created_at, last_seen,"
            " removed_at) VALUES (?, ?, ?, 'web', 6, 7, ?)",
            *(user, user, f"uuid of {handle}", 9 if user == ADA else None),
        )
        await write(
            database,
            "INSERT INTO sessions (user_id, device_id, token_hash, created_at, last_used,"
            " expires_at, label) VALUES (?, ?, ?, 1, 2, 3, 'listen')",
            *(user, user, b"SECRET of the token" + bytes([user])),
        )
        await write(database, "INSERT INTO cursors VALUES (?, ?, 'e', 4, 8)", user, user)
        await streams.append(
            [
                Append(user, "note.text", json.dumps({"of": handle}).encode(), source_device=user),
                Append(user, "app.theme", b'"dark"', key="theme"),
            ]
        )
    await streams.append([Append(0, "app.news", b'"to everyone"')])


def exported(database: Database, name: int | str = "ada") -> dict[str, Any]:
    parts: list[bytes] = []
    told = export_user(database.path, name, parts.append)
    whole = b"".join(parts)
    assert told.bytes == len(whole)
    document = json.loads(whole)
    assert isinstance(document, dict)
    assert told.messages == len(document["latest"]) + len(document["messages"])
    return document


async def test_it_has_the_account_devices_sessions_cursors_and_messages(
    database: Database,
) -> None:
    found = exported(database)
    assert (found["format"], found["version"]) == (FORMAT, FORMAT_VERSION)
    user = found["user"]
    assert (user["id"], user["handle"], user["roles"], user["has_password"]) == (
        *(ADA, "Ada", ["admin"], True),
    )
    assert [(one["device_uuid"], one["removed_at"]) for one in found["devices"]] == [
        ("uuid of ada", 9)
    ]
    assert [(one["label"], one["over"]) for one in found["sessions"]] == [("listen", False)]
    assert [(one["device_id"], one["offset"]) for one in found["cursors"]] == [(ADA, 4)]
    [message], [value] = found["messages"], found["latest"]
    assert (message["type"], message["payload"], message["source_device"]) == (
        *("note.text", {"of": "ada"}, ADA),
    )
    assert (value["key"], value["payload"]) == ("theme", "dark")


async def test_it_has_no_secret_and_nothing_of_others(database: Database) -> None:
    text = json.dumps(exported(database))
    for word in ("SECRET", "hash", "bob", "everyone"):
        assert word not in text, word


async def test_the_parts_of_the_document_are_those_of_the_documentation(
    database: Database,
) -> None:
    assert list(exported(database)) == [
        *("format", "version", "exported_at", "server_version", "user", "devices", "sessions"),
        *("epoch", "floor", "cursors", "message_ids", "latest", "messages", "damaged_messages"),
    ]


async def test_a_deleted_user_is_found_by_number_alone(database: Database) -> None:
    await write(database, "UPDATE users SET deleted_at = 1 WHERE id = ?", ADA)
    assert exported(database, ADA)["user"]["deleted_at"] == 1
    with pytest.raises(Problem) as caught:
        exported(database)
    assert caught.value.code == "user_not_found"


@pytest.mark.parametrize("name", ["nobody", 99, ""])
async def test_nothing_is_written_of_a_user_who_is_not_there(
    database: Database, name: int | str
) -> None:
    written: list[bytes] = []
    with pytest.raises(Problem):
        export_user(database.path, name, written.append)
    assert written == []


async def test_what_changes_meanwhile_is_not_in_it(
    database: Database, streams: SqlStreamLog
) -> None:
    parts: list[bytes] = []

    def change(part: bytes) -> None:
        if not parts:
            connection = database_of_its_own(database.path)
            connection.execute("DELETE FROM messages")
            connection.commit()
            connection.close()
        parts.append(part)

    export_user(database.path, "ada", change)
    found = json.loads(b"".join(parts))
    assert (len(found["messages"]), len(found["latest"])) == (1, 1)


def database_of_its_own(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path)


async def test_rows_are_written_as_they_are_read(database: Database, streams: SqlStreamLog) -> None:
    large = json.dumps("x" * 10_000).encode()
    await streams.append([Append(ADA, "note.text", large) for _ in range(50)])
    sizes: list[int] = []
    export_user(database.path, "ada", lambda part: sizes.append(len(part)))
    assert max(sizes) < 2 * len(large)


async def test_a_damaged_message_is_marked_and_shown_as_bytes(database: Database) -> None:
    change = "UPDATE messages SET payload = X'7b' WHERE user_id = ? AND key IS NULL"
    await write(database, change, ADA)
    [message] = exported(database)["messages"]
    assert (message["damaged"], message["payload"]) == (True, "ew==")


async def test_a_database_of_another_version_is_refused_in_words(tmp_path: Path) -> None:
    old = database_of_its_own(tmp_path / "old.db")
    old.execute("CREATE TABLE users (id)")
    old.close()
    with pytest.raises(DatabaseFailed, match="another version"):
        export_user(tmp_path / "old.db", "ada", lambda part: None)


async def test_what_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_bytes(b"junk" * 1000)
    with pytest.raises(DatabaseFailed, match="damaged"):
        export_user(tmp_path / "junk.db", "ada", lambda part: None)
