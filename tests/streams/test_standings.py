"""What memory knows of streams is what the log says, and what was delivered since."""

import pytest
from memory_log import MemoryLog

from app.base.errors import StorageUnavailable
from app.protocol.position import Position
from app.streams.base import EVERYONE, Append, Cursor, Row, Standing
from app.streams.standings import Standings

USER, DEVICE = 1, 7
NOTE = Append(USER, "note.text", b"1")
VALUE = Append(USER, "plan.state", b"1", key="k")
FIRST, SECOND = (Position("epoch-1", offset) for offset in (1, 2))


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def standings(log: MemoryLog) -> Standings:
    return Standings(log)


def row(offset: int, user_id: int = USER, **more: object) -> Row:
    return Row(offset, user_id, "note.text", b"1", **more)  # type: ignore[arg-type]


async def test_a_device_has_to_be_loaded_once(log: MemoryLog, standings: Standings) -> None:
    await log.append([NOTE, VALUE])
    assert not standings.knows(USER, DEVICE)
    await standings.prepare(USER, DEVICE)
    assert standings.knows(USER, DEVICE)
    assert standings.of(USER, DEVICE) == Standing(head=2, floor=0, cursor=None, keys=True)
    # The stream is known, but not where the other device stands in it.
    assert not standings.knows(USER, 8)


async def test_what_was_delivered_alone_tells_nothing_of_the_log(standings: Standings) -> None:
    standings.advance([row(5)])
    assert standings.head(USER) == 5
    assert not standings.knows(USER, DEVICE)


async def test_what_was_read_never_sets_memory_back(log: MemoryLog, standings: Standings) -> None:
    await log.append([NOTE])
    standings.advance([row(9, key="k")])
    standings.acknowledge(USER, DEVICE, SECOND)
    await standings.prepare(USER, DEVICE)
    assert standings.of(USER, DEVICE) == Standing(head=9, floor=0, cursor=SECOND, keys=True)


@pytest.mark.parametrize(
    ("delivered", "keys"),
    [(row(3), False), (row(3, key="k"), True), (row(3, key="k", deleted=1), False)],
    ids=["of the log", "a value", "a deletion"],
)
def test_only_a_value_tells_that_there_are_values(
    standings: Standings, delivered: Row, keys: bool
) -> None:
    standings.advance([delivered])
    assert standings.of(USER, DEVICE).keys is keys
    assert standings.of(USER, DEVICE).head == 3
    standings.advance([row(2)])
    assert standings.of(USER, DEVICE).keys is keys
    assert standings.head(USER) == 3


def test_what_is_for_everyone_is_in_every_stream(standings: Standings) -> None:
    standings.advance([row(4, EVERYONE, key="k"), row(2)])
    for user in (USER, 2):
        found = standings.of(user, DEVICE)
        assert (found.head, found.keys, standings.head(user)) == (4, True, 4)
    standings.advance([row(6)])
    assert (standings.head(USER), standings.head(2)) == (6, 4)


def test_floors_rise_and_heads_with_them_for_users_in_memory(standings: Standings) -> None:
    standings.advance([row(2)])
    standings.raise_floors({USER: 5, 2: 9})
    assert standings.of(USER, DEVICE) == Standing(head=5, floor=5, cursor=None, keys=False)
    assert standings.of(2, DEVICE).floor == 0
    standings.raise_floors({USER: 3, EVERYONE: 7})
    assert standings.of(USER, DEVICE) == Standing(head=7, floor=7, cursor=None, keys=False)


def test_in_doubt_everybody_reads_up_to_the_newest_offset(
    log: MemoryLog, standings: Standings
) -> None:
    log.last = 8
    standings.doubt()
    assert standings.head(USER) == standings.head(2) == 8
    log.last = 6
    standings.doubt()
    assert standings.head(USER) == 8


def test_a_cursor_never_goes_back_within_its_epoch(standings: Standings) -> None:
    standings.acknowledge(USER, DEVICE, SECOND)
    for position in (FIRST, SECOND):
        standings.acknowledge(USER, DEVICE, position)
        assert standings.of(USER, DEVICE).cursor == SECOND
    assert standings.unsaved == {DEVICE: Cursor(USER, SECOND)}
    other = Position("epoch-2", 1)
    standings.acknowledge(USER, DEVICE, other)
    assert standings.of(USER, DEVICE).cursor == other


async def test_cursors_are_saved_once(log: MemoryLog, standings: Standings) -> None:
    standings.acknowledge(USER, DEVICE, FIRST)
    await standings.save()
    assert log.cursors == {DEVICE: Cursor(USER, FIRST)}
    assert standings.unsaved == {}
    log.cursors.clear()
    await standings.save()
    standings.acknowledge(USER, DEVICE, FIRST)
    await standings.save()
    assert log.cursors == {}


async def test_cursors_that_could_not_be_saved_are_saved_later_but_for_newer_ones(
    log: MemoryLog, standings: Standings
) -> None:
    for device in (DEVICE, 8):
        standings.acknowledge(USER, device, FIRST)
    log.broken = True
    with pytest.raises(StorageUnavailable):
        await standings.save()
    standings.acknowledge(USER, DEVICE, SECOND)
    log.broken = False
    await standings.save()
    assert log.cursors == {DEVICE: Cursor(USER, SECOND), 8: Cursor(USER, FIRST)}


async def test_a_stored_cursor_is_where_the_device_stands(
    log: MemoryLog, standings: Standings
) -> None:
    log.cursors[DEVICE] = Cursor(USER, SECOND)
    await standings.prepare(USER, DEVICE)
    assert standings.of(USER, DEVICE).cursor == SECOND


async def test_a_log_that_cannot_be_read_leaves_the_device_unknown(
    log: MemoryLog, standings: Standings
) -> None:
    log.broken = True
    with pytest.raises(StorageUnavailable):
        await standings.prepare(USER, DEVICE)
    assert not standings.knows(USER, DEVICE)


async def test_a_new_epoch_forgets_everything(log: MemoryLog, standings: Standings) -> None:
    standings.advance([row(4, EVERYONE), row(5)])
    standings.acknowledge(USER, DEVICE, FIRST)
    await standings.prepare(USER, DEVICE)
    standings.forget()
    assert not standings.knows(USER, DEVICE)
    assert standings.of(USER, DEVICE) == Standing(head=0, floor=0, cursor=None, keys=False)
    assert standings.unsaved == {}
