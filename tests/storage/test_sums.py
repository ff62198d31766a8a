"""Sums that triggers keep, whatever changes the tables, and that one changed bit does not match."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from app.storage import sums
from app.storage.database import Database

ADD = """
INSERT INTO messages ("offset", user_id, type, payload, "key", created_at)
VALUES (?, ?, 'a.b', 'c', ?, 1)
"""
ACKNOWLEDGE = """
INSERT INTO cursors (device_id, user_id, epoch, "offset", updated_at) VALUES (7, 1, '', 2, 1)
ON CONFLICT (device_id) DO UPDATE SET "offset" = 5
"""
CHANGES = (
    'DELETE FROM messages WHERE "offset" = 3',
    "DELETE FROM messages WHERE user_id = 1",
    'UPDATE messages SET user_id = 9 WHERE "key" IS NULL',
    'INSERT INTO floors (user_id, "offset") VALUES (1, 3)',
    'UPDATE floors SET "offset" = 4',
    ACKNOWLEDGE,
    ACKNOWLEDGE,
    "DELETE FROM cursors",
    "DELETE FROM floors",
)


def mismatches(connection: Connection) -> list[str]:
    by_index = sums.mismatches(connection, over_index=True)
    assert by_index == sums.mismatches(connection, over_index=False)
    return by_index


async def test_the_sums_follow_every_change(database: Database) -> None:
    def work(connection: Connection) -> None:
        for offset, user_id, key in ((1, 1, None), (2, 1, "k"), (3, 2, None), (4, 2, "k")):
            connection.exec_driver_sql(ADD, (offset, user_id, key))
        assert mismatches(connection) == []
        for change in CHANGES:
            connection.exec_driver_sql(change)
            assert mismatches(connection) == [], change

    await database.transact(work)


async def test_triggers_that_are_gone_are_made_anew_and_the_tables_believed(
    database: Database,
) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql("DROP TRIGGER sums_messages_insert")
        connection.exec_driver_sql(ADD, (1, 1, None))
        assert mismatches(connection) == ["messages"]
        sums.install(connection)
        assert mismatches(connection) == []
        connection.exec_driver_sql(ADD, (2, 1, None))
        assert mismatches(connection) == []

    await database.transact(work)


async def test_only_messages_of_the_first_time_may_lack_a_checksum(database: Database) -> None:
    def work(connection: Connection) -> tuple[int, int]:
        connection.exec_driver_sql(ADD, (5, 1, None))
        connection.exec_driver_sql("DROP TRIGGER sums_messages_insert")
        sums.install(connection)
        found = sums.last_unchecked(connection)
        connection.exec_driver_sql("UPDATE sums SET rows = 1 WHERE name = 'unchecked'")
        return found, sums.last_unchecked(connection)

    found, damaged = await database.transact(work)
    assert found == 0
    assert damaged > 1 << 60, "a good message is never taken for damaged"


NUMBERS = st.integers(0, (1 << 56) - 1)


@pytest.mark.parametrize("summed", sums.TABLES, ids=lambda one: one.name)
def test_no_changed_bit_leaves_the_number_of_a_row_the_same(summed: sums.Summed) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        names = ", ".join(f'? AS "{column}"' for column in summed.columns)
        query = f"SELECT {summed.number('')} FROM (SELECT {names})"

        def number(values: list[int]) -> Any:
            return connection.execute(query, values).fetchone()[0]

        # The interpreter of SQLite is the thing to test: an overflow would make it a REAL.
        check(number, len(summed.columns))


def check(number: Callable[[list[int]], Any], columns: int) -> None:
    @given(st.lists(NUMBERS, min_size=columns, max_size=columns), st.data())
    def changes(values: list[int], data: st.DataObject) -> None:
        place, bit = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, 35))
        changed = list(values)
        changed[place] ^= 1 << bit
        assert type(number(values)) is int
        assert number(values) != number(changed)

    changes()
