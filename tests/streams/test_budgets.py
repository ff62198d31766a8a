"""Whatever devices store, what the backend keeps for their user stays, and the other way round."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from app.storage.database import Database
from app.streams.base import EVERYONE, Append, Appended, Pruned, ReadLimits, Refused, Row
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.effort import examples
from tests.streams.conftest import HandClock

ALL = ReadLimits(rows=100_000, bytes=1 << 30)
LIMITS = StreamLimits(retention_days=30, retention_rows=10, max_keys_per_user=3)
TABLET = 8

NOTE = Append(1, "note.text", b"1")
VALUE = replace(NOTE, key="k")
DELETION = replace(VALUE, payload=b"null", deleted=True)


def by_device(append: Append, device_id: int = 7) -> Append:
    return replace(append, source_device=device_id, source_instance="tab")


def of_backend(row: Append | Row) -> bool:
    return row.source_device == 0


async def kept(streams: SqlStreamLog, user_id: int = 1) -> Sequence[Row]:
    return (await streams.read(user_id, 0, ALL)).rows


async def payloads(streams: SqlStreamLog, user_id: int = 1) -> list[bytes]:
    return [row.payload for row in await kept(streams, user_id)]


async def prune(streams: SqlStreamLog) -> list[Pruned]:
    steps = []
    while not steps or steps[-1].more:
        steps.append(await streams.prune())
    return steps


async def reopened(
    database: Database, folder: Path, clock: HandClock, limits: StreamLimits = LIMITS
) -> SqlStreamLog:
    return await SqlStreamLog.open(database, folder / GUARD_NAME, limits, clock)


# Rows


async def test_however_many_rows_devices_store_those_of_the_backend_stay(
    streams: SqlStreamLog,
) -> None:
    await streams.append([replace(NOTE, payload=b'"alert"')])
    await streams.append([by_device(NOTE, 7 + number % 2) for number in range(350)])
    await prune(streams)
    assert (await payloads(streams)) == [b'"alert"', *[b"1"] * 100]


async def test_however_many_rows_the_backend_stores_those_of_devices_stay(
    streams: SqlStreamLog,
) -> None:
    await streams.append([by_device(replace(NOTE, payload=b"2"))] * 40)
    await streams.append([NOTE] * 350)
    await prune(streams)
    assert (await payloads(streams)) == [b"2"] * 40 + [b"1"] * 100


async def test_a_removed_row_of_a_device_raises_the_floor_of_its_user(
    streams: SqlStreamLog,
) -> None:
    await streams.append([NOTE, *[by_device(NOTE)] * 103])
    floors = [step.floors for step in await prune(streams) if step.floors]
    assert floors == [{1: 4}]


async def test_what_devices_store_for_everyone_evicts_nothing_of_the_backend(
    streams: SqlStreamLog,
) -> None:
    shared = replace(NOTE, user_id=EVERYONE)
    await streams.append([replace(shared, payload=b'"news"'), *[by_device(shared)] * 120])
    await prune(streams)
    assert (await payloads(streams, EVERYONE)) == [b'"news"', *[b"1"] * 100]


async def test_values_are_not_among_the_rows_of_either(streams: SqlStreamLog) -> None:
    await streams.append([by_device(VALUE), replace(VALUE, key="other")])
    await streams.append([NOTE, by_device(NOTE)] * 101)
    await prune(streams)
    assert [row.key for row in await kept(streams)][:2] == ["k", "other"]
    assert len(await kept(streams)) == 2 + 2 * 100


async def test_a_deletion_is_one_of_the_rows_of_its_author(streams: SqlStreamLog) -> None:
    await streams.append([replace(DELETION, key="b"), by_device(replace(DELETION, key="d"))])
    await streams.append([by_device(NOTE)] * 100)
    assert [step.floors for step in await prune(streams) if step.floors] == [{1: 2}]
    await streams.append([NOTE] * 100)
    assert [step.floors for step in await prune(streams) if step.floors] == [{1: 1}]


async def test_an_old_deletion_goes_and_raises_the_floor(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([DELETION])
    clock.now += 31 * 86_400
    assert [step.floors for step in await prune(streams) if step.floors] == [{1: 1}]


async def test_a_walk_past_many_rows_of_devices_finds_those_of_the_backend(
    database: Database, folder: Path, clock: HandClock
) -> None:
    limits = StreamLimits(retention_days=30, retention_rows=6000, max_keys_per_user=3)
    streams = await reopened(database, folder, clock, limits)
    await prune(streams)
    await streams.append([by_device(NOTE)] * 6000)
    await streams.append([NOTE] * 6003)
    steps = await prune(streams)
    assert sum(step.rows for step in steps) == 3
    assert len(steps) > 1, "one step passes by fewer rows"
    await streams.append([NOTE])
    steps = await prune(streams)
    assert [step.rows for step in steps if step.rows] == [1]
    assert [step.floors for step in steps if step.floors] == [{1: 6004}]
    await streams.close()


# Keys


async def test_devices_with_all_their_keys_leave_the_backend_its_own(
    streams: SqlStreamLog,
) -> None:
    await streams.append([by_device(replace(VALUE, key=key)) for key in "abc"])
    full = by_device(replace(VALUE, key="d"), TABLET)
    theirs = [replace(VALUE, key=key) for key in "xyz"]
    assert await streams.append([full, *theirs, replace(VALUE, key="w")]) == [
        Refused("too_many_keys"),
        *map(Appended, (4, 5, 6)),
        Refused("too_many_keys"),
    ]


async def test_a_restart_counts_the_keys_of_each(
    database: Database, streams: SqlStreamLog, folder: Path, clock: HandClock
) -> None:
    await streams.append([by_device(replace(VALUE, key=key)) for key in "abc"])
    await streams.append([replace(VALUE, key="x")])
    await streams.close()
    again = await reopened(database, folder, clock)
    fourth = by_device(replace(VALUE, key="d"))
    outcomes = await again.append([fourth, replace(VALUE, key="y")])
    assert outcomes == [Refused("too_many_keys"), Appended(5)]
    await again.close()


async def test_a_deleted_key_makes_room_for_another(streams: SqlStreamLog) -> None:
    for author in (by_device, replace):
        await streams.append([author(replace(VALUE, key=author.__name__ + key)) for key in "abc"])
        fourth = author(replace(VALUE, key=author.__name__ + "d"))
        gone = author(replace(DELETION, key=author.__name__ + "a"))
        assert [type(one) for one in await streams.append([fourth, gone, fourth])] == [
            Refused,
            Appended,
            Appended,
        ]
        assert await streams.append([gone, gone]) != [Refused("too_many_keys")] * 2
        fifth = author(replace(VALUE, key=author.__name__ + "e"))
        assert await streams.append([fifth]) == [Refused("too_many_keys")]


async def test_a_lower_limit_holds_also_after_a_deletion(
    database: Database, streams: SqlStreamLog, folder: Path, clock: HandClock
) -> None:
    await streams.append([replace(VALUE, key=key) for key in "abc"])
    await streams.close()
    fewer = StreamLimits(retention_days=30, retention_rows=10, max_keys_per_user=1)
    again = await reopened(database, folder, clock, fewer)
    await again.append([replace(DELETION, key="a")])
    assert await again.append([replace(VALUE, key="d")]) == [Refused("too_many_keys")]
    assert await again.append([VALUE]) == [Refused("too_many_keys")]
    assert isinstance((await again.append([replace(VALUE, key="b")]))[0], Appended)
    await again.close()


# One key, two authors


async def test_a_device_may_not_change_a_key_that_the_backend_holds(
    streams: SqlStreamLog,
) -> None:
    await streams.append([VALUE])
    tries = [
        by_device(append)
        for append in (
            VALUE,
            DELETION,
            replace(VALUE, target_device=7),
            replace(VALUE, without_device=7),
            replace(DELETION, target_device=7, message_id="m", owner="device:7"),
        )
    ]
    assert await streams.append(tries) == [Refused("forbidden")] * len(tries)
    assert [row.offset for row in await kept(streams)] == [1]
    others = [replace(VALUE, key="l"), replace(VALUE, type="note.other"), replace(VALUE, user_id=2)]
    assert all(isinstance(one, Appended) for one in await streams.append(map_device(others)))


def map_device(appends: Sequence[Append]) -> list[Append]:
    return [by_device(append) for append in appends]


async def test_the_backend_holds_a_key_under_any_target_and_for_everyone(
    streams: SqlStreamLog,
) -> None:
    held = [
        replace(VALUE, key="a", target_device=9),
        replace(VALUE, key="b", without_device=7),
        replace(VALUE, key="c", user_id=EVERYONE),
    ]
    await streams.append(held)
    tries = [by_device(replace(VALUE, key=key)) for key in "abc"]
    assert await streams.append(tries) == [Refused("forbidden")] * 3
    # For everyone a feature keeps it, in answer to a device; it is in nobody's way.
    shared = by_device(replace(VALUE, key="a", user_id=EVERYONE))
    assert await streams.append([shared]) == [Appended(4)]


async def test_a_device_may_have_a_key_whose_value_the_backend_has_deleted_or_that_expired(
    streams: SqlStreamLog, clock: HandClock
) -> None:
    await streams.append([VALUE, DELETION, replace(VALUE, key="l", ttl=10)])
    clock.now += 10
    tries = [by_device(VALUE), by_device(replace(VALUE, key="l"))]
    assert all(isinstance(one, Appended) for one in await streams.append(tries))


async def test_a_value_of_a_device_in_place_of_a_deletion_raises_the_floor(
    streams: SqlStreamLog,
) -> None:
    await streams.append([VALUE, NOTE, DELETION])
    assert await streams.append([by_device(VALUE)]) == [Appended(4, floor=3)]
    assert (await streams.standings([(1, 7)]))[0].floor == 3
    assert await streams.append([by_device(VALUE)]) == [Appended(5)]
    await streams.append([replace(DELETION, target_device=8), replace(DELETION, target_device=9)])
    assert await streams.append([by_device(DELETION)]) == [Appended(8, floor=7)]


async def test_a_value_of_the_backend_removes_those_of_devices(streams: SqlStreamLog) -> None:
    theirs = [VALUE, replace(VALUE, target_device=9), replace(VALUE, key="l")]
    await streams.append(map_device([*theirs, replace(VALUE, user_id=2)]))
    assert await streams.append([replace(VALUE, payload=b"2")]) == [Appended(5)]
    assert [(row.offset, row.key) for row in await kept(streams)] == [(3, "l"), (5, "k")]
    assert len(await kept(streams, 2)) == 1
    room = [by_device(replace(VALUE, key=key)) for key in "mn"]
    assert await streams.append(room) == [Appended(6), Appended(7)], "their keys are free again"


async def test_devices_that_do_not_get_the_backends_value_learn_that_theirs_is_gone(
    streams: SqlStreamLog,
) -> None:
    left_out = replace(VALUE, without_device=7, without_instance="tab")
    await streams.append(map_device([VALUE, replace(VALUE, target_device=9), left_out]))
    [outcome] = await streams.append([replace(VALUE, target_device=9)])
    assert isinstance(outcome, Appended)
    found = await kept(streams)
    assert [(row.offset, row.deleted, row.target_device) for row in found] == [(4, 1, 0), (5, 0, 9)]
    assert outcome == Appended(5, removals=(found[0],))
    deletion = found[0]
    assert (deletion.payload, deletion.source_device) == (b"null", 7)
    assert (deletion.without_device, deletion.source_instance) == (0, ""), "its sender hears too"


async def test_only_the_devices_that_had_a_value_learn_that_it_is_gone(
    streams: SqlStreamLog,
) -> None:
    theirs = [replace(VALUE, target_device=device) for device in (8, 9)]
    await streams.append(map_device(theirs))
    [outcome] = await streams.append([replace(VALUE, target_device=9)])
    assert isinstance(outcome, Appended)
    assert [row.target_device for row in outcome.removals] == [8]


async def test_no_deletion_of_a_devices_value_hides_an_older_one_of_the_backend(
    streams: SqlStreamLog,
) -> None:
    await streams.append([by_device(VALUE)])
    await streams.append([replace(VALUE, user_id=EVERYONE)])
    assert await streams.append([replace(VALUE, target_device=9)]) == [Appended(3)]
    assert [row.offset for row in await kept(streams)] == [2, 3]


async def test_a_deletion_removes_the_values_and_deletions_of_its_targets(
    streams: SqlStreamLog,
) -> None:
    slots = [replace(VALUE, target_device=8), replace(VALUE, without_device=7)]
    await streams.append(map_device(slots))
    await streams.append([by_device(replace(DELETION, target_device=8))])
    assert [row.offset for row in await kept(streams)] == [2, 3]
    await streams.append([replace(DELETION, without_device=8)])
    assert [row.offset for row in await kept(streams)] == [4]


async def test_in_one_batch_the_backend_goes_before_the_devices(streams: SqlStreamLog) -> None:
    mine, theirs = replace(VALUE, payload=b"2"), by_device(VALUE)
    assert await streams.append([theirs, mine, theirs]) == [
        Appended(1),
        Appended(2),
        Refused("forbidden"),
    ]
    assert [row.payload for row in await kept(streams)] == [b"2"]
    elsewhere = by_device(replace(VALUE, key="l", target_device=7))
    await streams.append([elsewhere, replace(mine, key="l"), by_device(replace(DELETION, key="l"))])
    assert [row.payload for row in await kept(streams)] == [b"2", b"2"]
    await streams.append([DELETION, theirs])
    assert [row.payload for row in await kept(streams)] == [b"2", b"1"]


async def test_a_repeat_is_answered_as_before_though_the_backend_holds_the_key_now(
    streams: SqlStreamLog,
) -> None:
    named = by_device(replace(VALUE, message_id="m", owner="device:7", digest=b"1"))
    await streams.append([named])
    await streams.append([VALUE])
    assert await streams.append([named]) == [Appended(1, duplicate=True)]
    refused = replace(named, message_id="n")
    assert await streams.append([refused, refused]) == [Refused("forbidden")] * 2


# A database of before


def older_database(path: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """Make a database as it was before devices and all else had limits of their own."""
    path.parent.mkdir(parents=True)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", "app/storage/migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    engine.dispose()
    older = sqlite3.connect(path)
    with older:
        older.executemany(
            "INSERT INTO messages (user_id, type, payload, source_device, source_instance,"
            ' target_device, "key", created_at) VALUES (1, ?, ?, ?, ?, ?, ?, ?)',
            rows,
        )
    older.close()


async def test_in_a_database_of_before_nothing_of_the_backend_goes_for_devices(
    tmp_path: Path, clock: HandClock
) -> None:
    now = int(clock() * 1000)
    device, backend = (7, "tab"), (0, "")
    mixed = [
        ("n.x", b"%d" % number, *(device if number % 4 else backend), 0, None, now)
        for number in range(10_000)
    ]
    values = [("n.x", b"1", *device, 0, f"d{number}", now) for number in range(900)]
    values += [("n.x", b"1", *backend, 0, f"b{number}", now) for number in range(100)]
    # Each of them has a value of one key, which breaks the rule.
    values += [("n.x", b"1", *backend, 0, "both", now), ("n.x", b"2", *device, 9, "both", now)]
    path = tmp_path / "data" / "switchboard.db"
    older_database(path, mixed + values)

    database = await Database.open(path)
    limits = StreamLimits(retention_days=30, retention_rows=10_000, max_keys_per_user=1000)
    streams = await reopened(database, path.parent, clock, limits)
    before = [row for row in await kept(streams) if of_backend(row)]
    assert len(before) == 2500 + 101
    assert sum(step.rows for step in await prune(streams)) == 0

    for _ in range(8):
        await streams.append([by_device(NOTE)] * 500)
    steps = await prune(streams)
    assert sum(step.rows for step in steps) == 7500 + 4000 - 10_000
    assert [row for row in await kept(streams) if of_backend(row)] == before

    more = [replace(VALUE, type="n.x", key=f"more{number}") for number in range(500)]
    assert all(isinstance(one, Appended) for one in await streams.append(more)), "600 of 1,000 keys"
    both = replace(VALUE, type="n.x", key="both")
    assert await streams.append([by_device(both)]) == [Refused("forbidden")]
    await streams.append([both])
    assert [of_backend(row) for row in await kept(streams) if row.key == "both"] == [True]
    await streams.close()
    await database.close()


# Any history

keys = st.sampled_from([None, None, "a", "b", "c", "d"])
appends = st.builds(
    Append,
    user_id=st.sampled_from([1, 1, 1, EVERYONE]),
    type=st.just("note.x"),
    payload=st.just(b""),
    target_device=st.sampled_from([0, 0, 8]),
    without_device=st.sampled_from([0, 0, 7]),
    source_device=st.sampled_from([0, 7, 8]),
    key=keys,
    ttl=st.sampled_from([None, None, None, 10]),
    deleted=st.sampled_from([False, False, True]),
).map(lambda one: one if one.key else replace(one, deleted=False))
steps = st.one_of(
    st.lists(appends, min_size=1, max_size=8),
    st.lists(appends, min_size=1, max_size=8),
    st.sampled_from(["prune", "wait", "restart"]),
)


Step = list[Append] | str


@dataclass
class World:
    """A log, and the offset of each message that it took, by payload."""

    folder: Path
    clock: HandClock
    database: Database
    streams: SqlStreamLog
    offsets: dict[bytes, int] = field(default_factory=dict)

    @staticmethod
    async def open(folder: Path, clock: HandClock) -> "World":
        database = await Database.open(folder / "switchboard.db")
        return World(folder, clock, database, await reopened(database, folder, clock, TINY))

    async def close(self) -> None:
        await self.streams.close()
        await self.database.close()

    async def do(self, step: Step) -> dict[bytes, str | None]:
        """Return why each message of the backend was refused, if it was."""
        if isinstance(step, list):
            return await self.append(step)
        if step == "prune":
            await prune(self.streams)
            await self.check_counts()
        elif step == "restart":
            await self.streams.close()
            self.streams = await reopened(self.database, self.folder, self.clock, TINY)
        return {}

    async def append(self, batch: list[Append]) -> dict[bytes, str | None]:
        refusals: dict[bytes, str | None] = {}
        for append, outcome in zip(batch, await self.streams.append(batch), strict=True):
            if isinstance(outcome, Appended):
                self.offsets[append.payload] = outcome.offset
            if of_backend(append):
                refusals[append.payload] = outcome.code if isinstance(outcome, Refused) else None
        return refusals

    async def rows(self) -> list[Row]:
        found = [await kept(self.streams, user_id) for user_id in (EVERYONE, 1)]
        return list({row.offset: row for rows in found for row in rows}.values())

    async def check_counts(self) -> None:
        """No budget has more than it may, once all that is due is removed."""
        rows = await self.rows()
        is_key = {row.offset: row.key is not None and not row.deleted for row in rows}
        keys = Counter((row.user_id, of_backend(row)) for row in rows if is_key[row.offset])
        limited = Counter((row.user_id, of_backend(row)) for row in rows if not is_key[row.offset])
        assert max(keys.values(), default=0) <= TINY.max_keys_per_user
        assert max(limited.values(), default=0) <= TINY.retention_rows


TINY = StreamLimits(retention_days=30, retention_rows=4, max_keys_per_user=2)


def numbered(history: Sequence[Step]) -> list[Step]:
    """Give each message of the history a payload of its own."""
    return [
        [replace(one, payload=b"[%d,%d]" % (at, number)) for number, one in enumerate(step)]
        if isinstance(step, list)
        else step
        for at, step in enumerate(history)
    ]


def without_devices(step: Step) -> Step:
    return [one for one in step if of_backend(one)] if isinstance(step, list) else step


@given(history=st.lists(steps, max_size=25))
@settings(max_examples=examples(30))
def test_what_the_backend_keeps_is_the_same_as_if_there_were_no_devices(
    history: list[Step],
) -> None:
    """Every history is lived through twice: with what its devices do, and without."""

    async def live() -> None:
        clock = HandClock(1_790_000_000.0)
        with tempfile.TemporaryDirectory() as folder:
            real = await World.open(Path(folder) / "real", clock)
            calm = await World.open(Path(folder) / "calm", clock)
            for step in numbered(history):
                clock.now += 10 if step == "wait" else 0
                assert await real.do(step) == await calm.do(without_devices(step))
                await compare(real, calm)
            await real.close()
            await calm.close()

    asyncio.run(live())


async def compare(real: World, calm: World) -> None:
    """Check that the backend's rows of the calm log are in the real one."""
    found = {row.payload: row for row in await real.rows()}
    floor = (await real.streams.read(1, 0, ALL)).floor
    for expected in await calm.rows():
        row = found.get(expected.payload)
        if row is not None:
            assert replace(row, offset=0) == replace(expected, offset=0)
        else:
            assert expected.deleted, f"{expected} is gone"
            # A device has set the key anew, and who missed the deletion has to fetch its state.
            assert floor >= real.offsets[expected.payload]
