"""Whether the database's files are still the ones that were opened.

SQLite goes on with a file that was removed, renamed or replaced as if nothing had happened: what it
commits is gone when the process ends. So the file at the path must be the one that is open, and so
must the write-ahead log and its index. A file that another program has cut short or written over
keeps its place. That shows in its length and its header, which change with a checkpoint alone; and
of checkpoints the index tells (https://www.sqlite.org/walformat.html, section 2).
"""

import logging
import mmap
import os
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from app.base.errors import StorageUnavailable
from app.base.logs import fields

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
"""The header of a database's first page."""

_INDEX_BYTES: Final = 136
_INDEX: Final = struct.Struct("=14xHII8x8s56xI28xI4x")
"""Page size, newest frame, pages of the database, salts; frames folded, frames begun to fold."""

_WAL: Final = struct.Struct("=16xI76xI")
"""Of these, the newest frame and the frames folded."""

_REMEDY: Final = "put the same files back, or stop the server and restore a backup"

_TRIES: Final = 5
"""Looks at the index; it changes under the look only while another thread commits."""

# `Path.stat` takes twice as long.
_stat: Final = os.stat

if sys.platform == "linux":
    import fcntl

    # A connection that is the last to close locks this range, folds the log, and removes it.
    _LAST_CLOSER: Final = struct.pack(
        "=hhiqqii", fcntl.F_RDLCK, os.SEEK_SET, 0, 0x40000002, 510, 0, 0
    )

log = logging.getLogger(__name__)

_Identity = tuple[int, int]
"""Device and inode."""


_Contents = tuple[int, bytes]
"""What changes only when a checkpoint writes to the database: its length and its header."""


@dataclass(frozen=True, slots=True)
class _Index:
    """What the index of the write-ahead log says of the log, and of its last checkpoint."""

    page_size: int
    newest: int
    pages: int
    salts: bytes
    folded: int
    begun: int

    @classmethod
    def read(cls, index: bytes) -> "_Index":
        """Return what the beginning of the index says."""
        return cls(*_INDEX.unpack(index))

    @property
    def settled(self) -> bool:
        """Whether no checkpoint is under way or was broken off."""
        return self.folded == self.begun

    @property
    def complete(self) -> bool:
        """Whether all of the log is in the database."""
        return self.settled and self.folded == self.newest

    def may_change(self, former: "_Index") -> bool:
        """Tell whether a checkpoint has written to the database since the index was `former`."""
        if (self.salts, self.begun) == (former.salts, former.begun):
            return False
        # A log is begun anew once all of it is in the database.
        return not (self.begun == 0 and former.complete)

    def allows(self, contents: _Contents) -> bool:
        """Tell whether a checkpoint may have left this behind."""
        size, header = contents
        if not header.startswith(_MAGIC):
            return False
        return not self.complete or not self.newest or size == self.pages * self.page_size


class Wal(NamedTuple):
    """How many pages the write-ahead log has, and how many of them were copied into the database.

    Another thread may commit meanwhile, so both are as of almost the same instant.
    """

    pages: int
    copied: int

    @property
    def waiting(self) -> int:
        """Pages that are in the log alone."""
        return self.pages - self.copied


_Known = tuple[_Contents, bytes]
"""The database as our last look found it and found it good, and the beginning of the index."""


class DatabaseFiles:
    """The files of an open database; any thread may ask, and nothing waits.

    It holds descriptors of them. To close one of a file would end the locks that SQLite has on it
    in this process, so call `close` only after every connection is closed.
    """

    def __init__(self, path: Path) -> None:
        """Open the database that is at `path`; raises OSError."""
        # SQLite follows links, and puts the other files beside the file that it found.
        self._path = path.absolute()
        real = path.resolve()
        self._log = real.with_name(real.name + "-wal")
        self._index = real.with_name(real.name + "-shm")
        self._descriptors = [_open(real)]
        self._identities = {self._path: _identity(os.fstat(self._descriptors[0]))}
        self._mapped: mmap.mmap | None = None
        self._known: _Known | None = None
        self._noting = threading.Lock()
        self._warning: str | None = None
        self._fault: str | None = None

    @property
    def path(self) -> Path:
        """Where the database was opened."""
        return self._path

    @property
    def fault(self) -> str | None:
        """What is wrong with the files, as far as was seen; None while they are in place."""
        return self._fault

    @property
    def wal(self) -> Wal:
        """The write-ahead log as its index tells; no pages before `watch_log`."""
        if self._mapped is None:
            return Wal(0, 0)
        return Wal(*_WAL.unpack_from(self._mapped))

    @property
    def wal_bytes(self) -> int:
        """The size of the write-ahead log's file; 0 before `watch_log`, and on Windows."""
        return os.fstat(self._descriptors[1]).st_size if self._mapped is not None else 0

    def sync(self) -> None:
        """Have the disk take what was written to the database so far; raises OSError."""
        os.fsync(self._descriptors[0])

    def watch_log(self) -> None:
        """Take the write-ahead log and its index as they are now; a connection is open."""
        if sys.platform == "win32":
            # An open file can be neither removed nor replaced there.
            return
        for path in (self._log, self._index):
            self._descriptors.append(_open(path))
            self._identities[path] = _identity(os.fstat(self._descriptors[-1]))
        self._mapped = mmap.mmap(self._descriptors[-1], _INDEX_BYTES, access=mmap.ACCESS_READ)
        self._known = self._look_at_contents(), self._mapped[:_INDEX_BYTES]

    def check(self) -> None:
        """Raise StorageUnavailable unless the files are in place; log when that has changed."""
        fault = self._find_fault() or self._warning
        if fault != self._fault:
            self._note(fault)
        if fault is not None:
            raise StorageUnavailable(f"{fault} The server can neither store nor read.")

    def look(self) -> None:
        """Do what `check` does, but raise nothing, and see what a later start would miss too.

        That is the right to open the file, and what other programs need beside it.
        """
        # What is open could be used on, but the next start could not open it. In one step: a commit
        # that checks meanwhile must not find that all is well.
        self._warning = self._find_warning()
        with suppress(StorageUnavailable):
            self.check()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Raise StorageUnavailable when the files are not in place after the block.

        So no error of the block and nothing that it found passes for the database's. If they were
        last seen to be gone, and still are, the block does not begin.
        """
        if self._fault is not None:
            self.check()
        try:
            yield
        except Exception:
            self.check()
            raise
        self.check()

    def keep_log(self) -> None:
        """Have no connection that closes fold the log into a file to which it may not belong."""
        if sys.platform == "linux" and self._fault is not None:
            with suppress(OSError):
                fcntl.fcntl(self._descriptors[0], fcntl.F_OFD_SETLK, _LAST_CLOSER)

    def close(self) -> None:
        """Close the descriptors; closing again does nothing."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _find_fault(self) -> str | None:
        for _ in range(_TRIES):
            known, mapped = self._known, self._mapped
            if (lost := self._find_lost(self._path)) is not None:
                return lost
            if known is None or mapped is None:
                return None
            index = mapped[:_INDEX_BYTES]
            contents = self._look_at_contents()
            # Of the same instant: a checkpoint tells the index before it writes to the database.
            if self._known is known and mapped[:_INDEX_BYTES] == index:
                changed = index != known[1] or contents != known[0]
                fault = self._find_foreign_change(known, contents, index) if changed else None
                return fault or self._find_lost(self._log)
        return self._find_lost(self._log)

    def _find_warning(self) -> str | None:
        if self._find_lost(self._path) is not None:
            return None
        if not os.access(self._path, os.R_OK | os.W_OK):
            return f"The file {self._path.name} may not be read and written."
        return self._find_lost(self._index)

    def _find_lost(self, path: Path) -> str | None:
        identity = self._identities.get(path)
        try:
            if identity is None or _identity(_stat(path)) == identity:
                return None
        except OSError as error:
            return f"The file {path.name} is gone: {error.strerror}."
        return f"The file {path.name} is not the one that was opened."

    def _look_at_contents(self) -> _Contents:
        database = self._descriptors[0]
        return os.fstat(database).st_size, os.pread(database, _HEADER_BYTES, 0)

    def _find_foreign_change(self, known: _Known, contents: _Contents, now: bytes) -> str | None:
        former, index = _Index.read(known[1]), _Index.read(now)
        if not index.settled:
            return None
        may_change = index.may_change(former)
        if not (index.allows(contents) if may_change else contents == known[0]):
            how = "cut short" if contents[0] < known[0][0] else "written over"
            return f"The file {self._path.name} was {how} by another program."
        self._known = contents, now
        return None

    def _note(self, fault: str | None) -> None:
        with self._noting:
            before, self._fault = self._fault, fault
        where = str(self._path)
        if before is None and fault is not None:
            log.critical("THE DATABASE IS GONE", extra=fields(path=where, reason=fault, do=_REMEDY))
        elif before is not None and fault is None:
            log.warning("the database is back, and in use again", extra=fields(path=where))


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino
