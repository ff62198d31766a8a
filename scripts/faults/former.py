"""A database as the version before deletions and checksums left it, filled to a given size.

The rows are those of schema 0004, written with plain SQL: what the code of today would write is not
what an upgrade finds.
"""

import hashlib
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from sqlalchemy import create_engine

from app.auth.tokens import hash_token, new_token
from app.protocol.position import Generation, Numbering, Position
from app.storage.upgrading import migrate
from app.streams.generation import GUARD_NAME, NO_GENERATION, Guard, Mark, make_generation
from scripts.faults.journal import Acknowledged, Joined, Journal, Sent
from scripts.faults.text import TYPE, payload

SCHEMA: Final = "0004"
USERS: Final = 20
DEVICES_EACH: Final = 4
INSTANCE: Final = "main"

MISSED: Final = 200
"""Messages of its user that a device lacks at most."""

_TEXT: Final = 600
_BATCH: Final = 10_000
_DAY: Final = 86_400_000
_SLACK: Final = 1.2
"""How much larger the file is than its payloads."""


@dataclass(slots=True)
class Former:
    """What the database has, as the devices know it."""

    tokens: list[str]
    numbering: Numbering
    messages: int
    positions: list[Position | None] = field(default_factory=list)
    """Of each device; None if its cursor is all there is."""
    owed: int = 0
    """Messages that the devices together lack."""
    repeatable: list[list[tuple[str, int]]] = field(default_factory=list)
    """Names and text lengths of messages that each device may repeat."""


def build(database: Path, size: int, journal: Path, rng: random.Random) -> Former:
    """Fill a new database with some `size` bytes, and write what was sent into the journal."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    database.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        migrate(connection, SCHEMA)
    engine.dispose()
    messages = max(USERS * MISSED * 2, int(size / (_TEXT * _SLACK)))
    epoch, begun = "epoch-of-before", Generation(make_generation(), messages // 2)
    numbering = Numbering(epoch, [Generation(NO_GENERATION, 1), begun])
    tokens = [new_token() for _ in range(USERS * DEVICES_EACH)]
    former = Former(tokens, numbering, messages)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (epoch,))
        connection.execute(
            "INSERT INTO generations (id, first) VALUES (?, ?)", (begun.id, begun.first)
        )
        _add_people(connection, tokens)
        connection.execute("COMMIT")
        _add_messages(connection, messages)
        with Journal(journal) as written:
            _place_devices(connection, former, written, rng)
    guard = Guard(database.with_name(GUARD_NAME))
    guard.confirm(Mark(begun.id, messages))
    guard.close()
    return former


def author(offset: int) -> tuple[int, int]:
    """Return the user and the device that sent the message at this offset."""
    user = 1 + offset % USERS
    return user, 1 + (user - 1) * DEVICES_EACH + offset // USERS % DEVICES_EACH


def name_of(offset: int) -> str:
    """Return the name of the message, which was its `message_id` too."""
    return f"former.{offset}"


def length_of(offset: int) -> int:
    """Return the length of the message's text."""
    return _TEXT // 2 + offset * 37 % _TEXT


def _add_people(connection: sqlite3.Connection, tokens: list[str]) -> None:
    now = int(time.time() * 1000)
    people = [(user, f"user{user}", f"user{user}", now) for user in range(1, USERS + 1)]
    connection.executemany(
        "INSERT INTO users (id, handle, handle_key, created_at) VALUES (?, ?, ?, ?)", people
    )
    for device, token in enumerate(tokens, 1):
        user = 1 + (device - 1) // DEVICES_EACH
        connection.execute(
            "INSERT INTO devices (id, user_id, device_uuid, device_type, created_at, last_seen)"
            " VALUES (?, ?, ?, 'web', ?, ?)",
            (device, user, f"device-{device:08}", now, now),
        )
        connection.execute(
            "INSERT INTO sessions (user_id, device_id, token_hash, created_at, last_used,"
            " expires_at) VALUES (?, ?, ?, ?, ?, ?)",
            (user, device, hash_token(token), now, now, now + 30 * _DAY),
        )


def _add_messages(connection: sqlite3.Connection, messages: int) -> None:
    now = int(time.time() * 1000)
    for first in range(1, messages + 1, _BATCH):
        offsets = range(first, min(first + _BATCH, messages + 1))
        connection.execute("BEGIN")
        connection.executemany(
            'INSERT INTO messages ("offset", user_id, type, payload, source_device,'
            " source_instance, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            _rows(offsets, now),
        )
        connection.executemany(
            "INSERT INTO message_ids VALUES (?, ?, ?, ?, ?)",
            # Those of the last day, in another order than that of their offsets.
            (one for one in _ids(offsets, now) if one[3] > messages // 2),
        )
        connection.execute("COMMIT")


def _rows(offsets: range, now: int) -> Iterator[tuple[object, ...]]:
    for offset in offsets:
        user, device = author(offset)
        yield offset, user, TYPE, _payload(offset), device, INSTANCE, now - 1000


def _ids(offsets: range, now: int) -> Iterator[tuple[str, str, bytes, int, int]]:
    for offset in offsets:
        user, device = author(offset)
        asked = orjson.dumps((user, TYPE, 0, 0, None, None, "log"))
        digest = hashlib.sha256(asked + _payload(offset)).digest()
        yield f"device:{device}", name_of(offset), digest, offset, now - 1000


def _payload(offset: int) -> bytes:
    return orjson.dumps(payload(name_of(offset), length_of(offset)))


def _place_devices(
    connection: sqlite3.Connection, former: Former, journal: Journal, rng: random.Random
) -> None:
    """Give every device a position, or a cursor, below the last messages of its user."""
    texts = former.numbering.epoch, former.numbering.text
    now = int(time.time() * 1000)
    first = former.messages - USERS * MISSED
    for number in range(len(former.tokens)):
        user = 1 + number // DEVICES_EACH
        journal.write(Joined(number, user, number + 1, INSTANCE))
    for offset in range(first + 1, former.messages + 1):
        number = author(offset)[1] - 1
        journal.write(Sent(number, name_of(offset), "user"))
        journal.write(Acknowledged(number, name_of(offset), texts[0], offset, False))
    for number in range(len(former.tokens)):
        user, offset = 1 + number // DEVICES_EACH, rng.randint(first, former.messages)
        former.owed += sum(
            1 for one in range(offset + 1, former.messages + 1) if author(one)[0] == user
        )
        own = [one for one in range(first + 1, former.messages + 1) if author(one)[1] == number + 1]
        former.repeatable.append([(name_of(one), length_of(one)) for one in rng.sample(own, 20)])
        if number % 2:
            former.positions.append(Position(texts[1], offset))
            continue
        former.positions.append(None)
        connection.execute(
            "INSERT INTO cursors VALUES (?, ?, ?, ?, ?)", (number + 1, user, texts[0], offset, now)
        )
