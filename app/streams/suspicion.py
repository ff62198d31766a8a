"""What reads and appends met that points to damage of the database, until somebody has looked."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from app.base.errors import StorageUnavailable
from app.storage.damage import is_of_value, is_structural


class DamagedRow(Exception):
    """A message that is not what was stored, at this offset."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(offset)


class Suspicions:
    """Collects signs of damage, and refuses reads and appends while nobody knows how far it goes.

    A message with a wrong checksum says nothing about the others. If SQLite says that pages do not
    fit together, every read may lack rows, and every write may go into somebody else's page.
    """

    def __init__(self) -> None:
        self.offsets: set[int] = set()
        """Where messages with a wrong checksum were found."""
        self.unreadable = False
        """Whether there is a message, nobody knows where, of which a value cannot be read."""
        self.structural = False
        """Whether SQLite said that pages, or an index, do not fit together."""
        self.damage: str | None = None
        """What was found to be wrong with the file; until the server stops, then."""
        self.any = asyncio.Event()

    def refuse(self) -> None:
        """Raise StorageUnavailable while the pages of the database cannot be believed."""
        if self.structural or self.damage is not None:
            raise StorageUnavailable

    def note(self, error: BaseException) -> bool:
        """Take note of an error of SQLite; tell whether it says that pages do not fit together."""
        if is_structural(error):
            self.structural = True
            self.any.set()
            return True
        return False

    @contextmanager
    def noticing(self) -> Iterator[None]:
        """Take note of signs of damage in the block, which reads or appends.

        Raises StorageUnavailable for a damaged message; errors of SQLite pass.
        """
        self.refuse()
        try:
            yield
        except DamagedRow as found:
            self.offsets.add(found.offset)
            self.any.set()
            raise StorageUnavailable from found
        except DBAPIError as error:
            self.note(error)
            raise

    @contextmanager
    def noticing_values(self) -> Iterator[None]:
        """Do the same for a block that only reads, and take note of values that are none."""
        with self.noticing():
            try:
                yield
            except DBAPIError as error:
                if not is_of_value(error):
                    raise
                self.unreadable = True
                self.any.set()
                raise StorageUnavailable from error

    def clear(self) -> None:
        """Forget all signs, since their causes are removed."""
        self.offsets.clear()
        self.unreadable = self.structural = False
        self.any.clear()
