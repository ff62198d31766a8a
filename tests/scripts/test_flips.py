"""Each kind of damage changes one file, and one place of it."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from app.storage.database import DATABASE_NAME
from scripts.faults.flips import KINDS, damage
from tests.databases import place_database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A database with a message."""
    place_database(tmp_path / "data")
    path = tmp_path / "data" / DATABASE_NAME
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO messages (user_id, type, payload, created_at) VALUES (1, 'a.b', 'c', 1)"
        )
    return path.parent


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_damage_changes_one_place(folder: Path, kind: str) -> None:
    if KINDS[kind][0] == "killed":
        (folder / f"{DATABASE_NAME}-wal").write_bytes(bytes(9000))
    for seed in range(5):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        told = damage(kind, folder, random.Random(seed))
        changed = [name for name, data in before.items() if (folder / name).read_bytes() != data]
        assert len(changed) == 1
        assert changed[0] in told
        was, now = before[changed[0]], (folder / changed[0]).read_bytes()
        if kind.endswith("cut"):
            assert was.startswith(now)
        else:
            [at] = [at for at in range(len(was)) if was[at] != now[at]]
            assert (was[at] ^ now[at]).bit_count() == 1
        for name, data in before.items():
            (folder / name).write_bytes(data)
