"""Signs of damage are collected, and what cannot be believed is refused until it is looked at."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError

from app.base.errors import StorageUnavailable
from app.streams.suspicion import DamagedRow, Suspicions


def error(name: str, text: str = "of SQLite") -> DBAPIError:
    """Return an error as SQLAlchemy raises it."""
    original = sqlite3.DatabaseError(text)
    original.sqlite_errorname = name  # type: ignore[misc]
    return DBAPIError("SELECT 1", (), original)


def meet(suspicions: Suspicions, found: Exception, *, reading: bool = False) -> None:
    with suspicions.noticing_values() if reading else suspicions.noticing():
        raise found


@pytest.mark.parametrize("reading", [False, True])
def test_a_damaged_message_is_noted_and_harms_no_other(reading: bool) -> None:
    suspicions = Suspicions()
    for offset in (7, 9, 7):
        with pytest.raises(StorageUnavailable):
            meet(suspicions, DamagedRow(offset), reading=reading)
    assert suspicions.offsets == {7, 9}
    assert suspicions.any.is_set()
    suspicions.refuse()


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("name", ["SQLITE_CORRUPT", "SQLITE_CORRUPT_INDEX", "SQLITE_NOTADB"])
def test_once_pages_do_not_fit_together_everything_is_refused(name: str, reading: bool) -> None:
    suspicions = Suspicions()
    with pytest.raises(DBAPIError):
        meet(suspicions, error(name), reading=reading)
    assert (suspicions.structural, suspicions.any.is_set()) == (True, True)
    with pytest.raises(StorageUnavailable), suspicions.noticing():
        pytest.fail("the block began")
    suspicions.clear()
    suspicions.refuse()


@pytest.mark.parametrize("reading", [False, True])
def test_an_ordinary_error_is_no_sign_of_damage(reading: bool) -> None:
    suspicions = Suspicions()
    with pytest.raises(DBAPIError):
        meet(suspicions, error("SQLITE_BUSY"), reading=reading)
    assert not suspicions.note(error("SQLITE_FULL"))
    assert not suspicions.note(ValueError())
    assert not suspicions.any.is_set()
    suspicions.refuse()


def test_a_value_that_cannot_be_read_is_a_sign_where_one_is_read_and_only_there() -> None:
    suspicions = Suspicions()
    unreadable = error("SQLITE_ERROR", "Could not decode to UTF-8 column 'type'")
    with pytest.raises(DBAPIError):
        meet(suspicions, unreadable)
    assert not suspicions.any.is_set()
    with pytest.raises(StorageUnavailable):
        meet(suspicions, unreadable, reading=True)
    assert (suspicions.unreadable, suspicions.any.is_set()) == (True, True)
    # The others can be read.
    suspicions.refuse()


def test_what_was_found_to_be_wrong_with_the_file_outlasts_the_signs() -> None:
    suspicions = Suspicions()
    with pytest.raises(StorageUnavailable):
        meet(suspicions, DamagedRow(7))
    suspicions.damage = "the tree of a table"
    suspicions.clear()
    assert (suspicions.offsets, suspicions.unreadable, suspicions.any.is_set()) == (
        set(),
        False,
        False,
    )
    with pytest.raises(StorageUnavailable):
        suspicions.refuse()
