"""Checks a database from outside, whether a server uses it or not, and changes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError

from app.base.errors import SwitchboardError
from app.storage import sums
from app.storage.backup import companions
from app.storage.damage import is_structural
from app.streams.examining import check_slice

T = TypeVar("T")

MAX_FAULTS: Final = 100
"""Faults of pages that are told at most."""

BUSY_SECONDS: Final = 5

_TOLD: Final = 3

_HAS_SUMS: Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sums'"
_MOVED: Final = 'SELECT "offset", found_at FROM damaged_messages ORDER BY "offset"'
_COUNT: Final = "SELECT count(*) FROM messages NOT INDEXED"


@dataclass(frozen=True, slots=True)
class MovedMessage:
    """A damaged message that a server moved aside; `found_at` in milliseconds since 1970."""

    offset: int
    found_at: int


@dataclass(slots=True, kw_only=True)
class Report:
    """What was found: faults of SQLite's own check, and what the checksums and sums showed.

    `messages` are those that could be read, `unchecked` those among them without a checksum,
    `damaged` offsets of messages, `missing` names of what lacks rows or has some too many.
    """

    file: str
    pages: list[str] = field(default_factory=list)
    messages: int = 0
    unchecked: int = 0
    damaged: list[int] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    moved_aside: list[MovedMessage] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there is no damage, and none was moved aside."""
        return not (self.pages or self.damaged or self.missing or self.moved_aside)


def check(path: Path) -> Report:
    """Check the database at `path` and return what was found.

    A long check holds up no writer, but the write-ahead log grows meanwhile. Raises
    SwitchboardError when the database cannot be opened, or is locked.
    """
    if not path.exists():
        raise SwitchboardError(f"There is no database in {path.parent}.")
    report = Report(file=str(path))
    with _opened(path) as connection:
        _check_pages(connection, report)
        if _tried(report, lambda: connection.exec_driver_sql(_HAS_SUMS).first()) is None:
            # A database of before there were checksums; the next start of a server adds them.
            counted = _tried(report, lambda: connection.exec_driver_sql(_COUNT).scalar_one())
            report.messages = report.unchecked = int(counted or 0)
        else:
            _check_messages(connection, report)
            _check_sums(connection, report)
            moved = _tried(report, lambda: connection.exec_driver_sql(_MOVED).all())
            report.moved_aside = [MovedMessage(*row) for row in moved or ()]
    return report


def faults_of(path: Path) -> list[str]:
    """Return what is damaged in the database at `path`, at most a few sentences."""
    report = check(path)
    faults = report.pages[:_TOLD]
    if report.damaged:
        told = f"damaged messages: {len(report.damaged)}, the first at offset"
        faults.append(f"{told} {report.damaged[0]}")
    if report.missing:
        faults.append(f"rows are missing, or too many: {', '.join(report.missing)}")
    return faults


@contextmanager
def _opened(path: Path) -> Iterator[Connection]:
    # Without other files beside it nobody uses it, and SQLite need make none.
    alone = not any(one.exists() and one.stat().st_size for one in companions(path))
    query = {"mode": "ro", "uri": "true"} | ({"immutable": "1"} if alone else {})
    url = URL.create("sqlite+pysqlite", database=f"file:{quote(str(path))}", query=query)
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
    )
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise SwitchboardError(f"The database cannot be checked: {error.orig}.") from error
    finally:
        engine.dispose()


def _tried(report: Report, read: Callable[[], T]) -> T | None:
    """Return what is read; None if pages are damaged, of which the report then tells."""
    try:
        return read()
    except DBAPIError as error:
        if not is_structural(error):
            raise
        if (told := str(error.orig)) not in report.pages:
            report.pages.append(told)
        return None


def _check_pages(connection: Connection, report: Report) -> None:
    statement = f"PRAGMA integrity_check({MAX_FAULTS})"
    found = _tried(report, lambda: connection.exec_driver_sql(statement).scalars().all())
    lines = [line for text in found or () for line in str(text).splitlines()]
    report.pages += [line for line in lines if line != "ok" and not line.startswith("***")]


def _check_messages(connection: Connection, report: Report) -> None:
    old = _tried(report, lambda: sums.last_unchecked(connection))
    after: int | None = 0
    while after is not None and old is not None:
        # Each slice by itself, so that a server can shorten its write-ahead log meanwhile.
        start, limit = after, old
        checked = _tried(report, lambda: check_slice(connection, start, limit))  # noqa: B023
        if checked is None:
            return
        report.damaged += checked.damaged
        report.messages += checked.rows
        report.unchecked += checked.unchecked
        after = checked.through


def _check_sums(connection: Connection, report: Report) -> None:
    found: set[str] = set()
    for over_index in (False, True):
        # One transaction, so that tables and sums are of one instant.
        connection.exec_driver_sql("BEGIN")
        wrong = _tried(report, lambda: sums.mismatches(connection, over_index=over_index))  # noqa: B023
        connection.exec_driver_sql("ROLLBACK")
        found.update(wrong or ())
    report.missing = sorted(found)
