"""`prune`: what goes, by kind, and what a dry run says would go."""

import time
from dataclasses import replace

from app.control import prune, tokens, users
from app.control.actions.table import act, begin
from app.control.operations import Operations
from app.control.prune import Gone, HowToPrune
from app.control.tokens import NewToken
from app.control.users import NewUser, OneUser
from tests.control.conftest import LIMITS

LONG_AGO = 1_000_000_000_000


async def pruned(operations: Operations, *, dry_run: bool = False) -> Gone:
    batches = begin(operations, prune.PRUNE, HowToPrune(dry_run=dry_run))
    [gone] = [one async for batch in batches for one in batch]
    return gone


async def add(operations: Operations, handle: str) -> int:
    made = NewUser(handle=handle, password="correct horse")
    return (await act(operations, users.ADD, made)).id


async def sign_in(operations: Operations, handle: str, uuid: str) -> None:
    made = NewToken(user=handle, device_uuid=uuid, device_type="web")
    await act(operations, tokens.ISSUE, made)


async def write(operations: Operations, statement: str, *values: object) -> None:
    async with operations.database.write() as connection:
        await connection.exec_driver_sql(statement, values)


async def keep(operations: Operations, user_id: int, created_at: int, count: int = 1) -> None:
    """Put messages into the database, as old as they are said to be."""
    for _ in range(count):
        await write(
            operations,
            "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, 'n.x', '1', ?)",
            user_id,
            created_at,
        )


async def fill(operations: Operations) -> None:
    """Have two rows of each kind that are past, and one of each that is not."""
    ada = await add(operations, "ada")
    now = int(time.time() * 1000)
    await keep(operations, ada, LONG_AGO, 2)
    await keep(operations, ada, now)
    for number in range(3):
        await sign_in(operations, "ada", f"device-000{number}")
    await write(operations, "UPDATE sessions SET expires_at = 1 WHERE id <= 2")
    for number in range(3):
        ends = 1 if number < 2 else now + 10_000_000
        await write(operations, "INSERT INTO ended_jwts VALUES (?, ?)", bytes([number] * 32), ends)
    for number in range(3):
        removed = LONG_AGO if number < 2 else now
        await write(
            operations,
            "INSERT INTO devices (user_id, device_uuid, device_type, created_at, last_seen,"
            " removed_at) VALUES (?, ?, 'web', 1, 1, ?)",
            ada,
            f"old-{number}",
            removed,
        )
    for number in range(3):
        deleted = LONG_AGO if number < 2 else now
        await write(
            operations,
            "INSERT INTO users (handle, created_at, deleted_at) VALUES (?, 1, ?)",
            f"former-{number}",
            deleted,
        )
    bob = await add(operations, "bob")
    await keep(operations, bob, now, 2)
    await act(operations, users.DELETE, OneUser(user="bob"))


EXPECTED = {
    "messages": 2,
    "sessions": 2,
    "jwts": 2,
    "devices": 2,
    "users": 2,
    "leftovers": 2,
}


def kinds(gone: Gone) -> dict[str, int]:
    return gone.model_dump(include=set(EXPECTED))


async def test_each_kind_is_counted_by_a_dry_run_which_removes_nothing(
    operations: Operations,
) -> None:
    await fill(operations)
    for _ in range(2):
        gone = await pruned(operations, dry_run=True)
        assert (kinds(gone), gone.dry_run) == (EXPECTED, True)


async def test_what_is_past_goes_and_the_rest_stays(operations: Operations) -> None:
    await fill(operations)
    assert kinds(await pruned(operations)) == EXPECTED
    assert set(kinds(await pruned(operations)).values()) == {0}
    async with operations.database.read() as connection:
        for table, left in (("messages", 1), ("sessions", 1), ("ended_jwts", 1)):
            count = await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")
            assert count.scalar_one() == left, table
        left = await connection.exec_driver_sql("SELECT device_uuid FROM devices ORDER BY id")
        assert left.scalars().all()[-1] == "old-2"
        handles = await connection.exec_driver_sql("SELECT handle FROM users ORDER BY id")
        assert handles.scalars().all() == ["ada", "former-2", "bob"]


async def test_what_a_command_removes_counts_as_removed_by_the_running_server(
    operations: Operations,
) -> None:
    await fill(operations)
    await pruned(operations, dry_run=True)
    assert counted(operations) == {}
    await pruned(operations)
    assert counted(operations) == {
        **dict.fromkeys(("messages", "sessions", "jwts", "devices", "users"), 2),
        "of_deleted_users": EXPECTED["leftovers"],
    }


def counted(operations: Operations) -> dict[str, float]:
    """Return what the metrics count as removed, by kind, but for kinds without any."""
    rows, *_ = operations.running_node().metrics.removals.collect()
    return {one.labels["kind"]: one.value for one in rows.samples if one.value}


async def test_messages_above_the_limit_go_and_a_dry_run_counts_them(
    operations: Operations,
) -> None:
    few = operations.settings.model_copy(update={"retention_rows": LIMITS.retention_rows})
    operations = replace(operations, settings=few)
    ada = await add(operations, "ada")
    await keep(operations, ada, int(time.time() * 1000), LIMITS.retention_rows + 3)
    assert (await pruned(operations, dry_run=True)).messages == 3
    assert (await pruned(operations)).messages == 3
