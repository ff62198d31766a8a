"""What SQLite's errors say of a damaged database file."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import DBAPIError

from app.base.errors import DatabaseFailed, sentence

DOCUMENTATION: Final = "docs/damaged-database.md"
"""The page that log lines and sentences about damage name."""

_STRUCTURE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_UNREADABLE: Final = ("Could not decode to UTF-8", "string or blob too big")
"""What the driver says of values that no statement of ours has stored."""


@contextmanager
def failures_told() -> Iterator[None]:
    """Turn what SQLite reports inside the block into DatabaseFailed, a sentence for people."""
    try:
        yield
    except DBAPIError as error:
        if is_structural(error):
            told = f"The database is damaged ({error.orig}): see {DOCUMENTATION}."
        else:
            told = f"The database failed: {sentence(str(error.orig))}"
        raise DatabaseFailed(told) from None


def is_structural(error: BaseException | None) -> bool:
    """Tell whether SQLite found pages of the file, or an index, not to fit together."""
    return _name(error).startswith(_STRUCTURE)


def is_of_value(error: BaseException | None) -> bool:
    """Tell whether a value could not be read: a text that is no UTF-8, or a length beyond limits.

    Only for errors of reading: who stores a value that is too long gets the same.
    """
    original = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(original, sqlite3.Error) and str(original).startswith(_UNREADABLE)


def _name(error: BaseException | None) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(original, "sqlite_errorname", ""))
