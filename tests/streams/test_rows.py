"""The columns of a row are written and read in one order, whatever the table's."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from sqlalchemy import Connection, select

from app.storage.database import Database
from app.storage.schema import messages
from app.streams.base import Append, ReadLimits, Row, row_values
from app.streams.rows import ROW_COLUMNS, DamagedRow, latest, read
from app.streams.sql import SqlStreamLog

# No two values are equal, so that none can take another's place unseen.
FULL = Append(
    user_id=11,
    type="note.text",
    payload=b"12",
    target_device=13,
    without_device=14,
    without_instance="15",
    source_device=16,
    source_instance="17",
    key="18",
    ttl=19,
    deleted=True,
)


def named(row: Row) -> dict[str, object]:
    return {field.name: getattr(row, field.name) for field in fields(Row)}


def test_the_columns_are_those_of_the_table() -> None:
    assert set(ROW_COLUMNS) == {column.name for column in messages.columns}
    assert len(ROW_COLUMNS) == len(messages.columns)


def test_each_field_of_a_message_is_in_the_field_of_the_same_name() -> None:
    row = Row(*row_values(FULL, offset=1, created_at=2000))
    copied = {field.name for field in fields(Append)} & set(ROW_COLUMNS)
    assert copied == set(ROW_COLUMNS) - {"offset", "created_at", "expires_at", "crc"}
    assert {name: getattr(row, name) for name in copied} == {
        name: getattr(FULL, name) for name in copied
    }
    assert (row.offset, row.created_at, row.expires_at) == (1, 2000, 2000 + 19_000)


async def test_what_is_stored_is_in_the_columns_of_its_names(
    database: Database, streams: SqlStreamLog
) -> None:
    await streams.append([FULL])
    [read] = (await streams.read(FULL.user_id, 0, ReadLimits())).rows
    [stored] = await database.snapshot(
        lambda connection: connection.execute(select(messages)).mappings().all()
    )
    assert named(read) == dict(stored)
    assert read == Row(*row_values(FULL, offset=1, created_at=read.created_at))


Read = Callable[[Connection, int], object]
READS: dict[str, Read] = {
    "read": lambda one, upto: read(one, 11, after=0, limits=ReadLimits(), now=0, last=upto),
    "latest": lambda one, upto: latest(one, 11, 13, after=0, upto=upto, limits=ReadLimits(), now=0),
}


@pytest.mark.parametrize("how", READS)
async def test_a_row_that_comes_twice_is_damage(
    database: Database, streams: SqlStreamLog, how: str
) -> None:
    """An index that is damaged may lead to one row again; here the table has it twice."""
    await streams.append([FULL, replace(FULL, key="19")])

    def double(connection: Connection) -> None:
        for statement in (
            "CREATE TABLE twice AS SELECT * FROM messages",
            'INSERT INTO twice SELECT * FROM messages WHERE "offset" = 2',
            "DROP TABLE messages",
            "ALTER TABLE twice RENAME TO messages",
            'CREATE INDEX messages_user_id_offset ON messages (user_id, "offset")',
            """CREATE INDEX messages_latest ON messages
            (user_id, type, "key", target_device, without_device) WHERE "key" IS NOT NULL""",
        ):
            connection.exec_driver_sql(statement)

    await database.transact(double)
    with pytest.raises(DamagedRow) as found:
        await database.snapshot(lambda connection: READS[how](connection, 2))
    assert found.value.offset == 2
