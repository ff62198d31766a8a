"""Whom a message is for: users by the names that a backend gives them, devices by their owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.auth.jwt import is_subject
from app.auth.names import clean_handle, handle_key
from app.base.clock import WALL, Clock
from app.base.errors import Problem, StorageUnavailable
from app.base.lru import Lru
from app.base.tasks import Batches
from app.storage.database import Database
from app.storage.devices import live_device
from app.storage.directory import users_of_handle_keys, users_of_ids, users_of_subjects
from app.storage.schema import MAX_ID, milliseconds
from app.storage.users import add_outside_users

KNOWN_DEVICES: Final = 65_536
"""About 90 bytes each, and up to twice as many; above the 50,000 connections of a node."""

NOBODY: Final = 0
"""The owner of a device that does not exist; ids of users begin at 1."""


class DeviceOwners:
    """The owners of the devices asked for lately; every write on devices reports here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._owners: Lru[int, int] = Lru(KNOWN_DEVICES)

    def remembered(self, device_id: int) -> int | None:
        """Return the id of the device's user, `NOBODY` if it does not exist; None if unknown."""
        return self._owners.get(device_id)

    async def load(self, device_id: int) -> int | None:
        """Return the id of the device's user; None if it does not exist or was removed."""
        if not 0 < device_id <= MAX_ID:
            return None
        owner = self._owners.get(device_id)
        if owner is None:
            async with self._database.lookup() as connection:
                device = await live_device(connection, device_id)
            # What a write has reported meanwhile is newer than what was read.
            owner = self._owners.get(device_id)
            if owner is None:
                owner = NOBODY if device is None else device.user_id
                self._owners.put(device_id, owner)
        return owner or None

    def add(self, device_id: int, user_id: int) -> None:
        """Record that the device, which may be new, is the user's."""
        self._owners.put(device_id, user_id)

    def remove(self, device_id: int) -> None:
        """Record that the device does not exist any more."""
        self._owners.put(device_id, NOBODY)


@dataclass(frozen=True, slots=True)
class Subject:
    """A user of the application's own accounts, as JWTs name them."""

    iss: str
    sub: str


Addressee = int | str | Subject
"""A user's id, their handle, or the subject that they are outside."""


class Addressees:
    """Looks up many names at once: all of one kind that are asked for meanwhile cost one select.

    `issuer` is whose JWTs the server takes, None if it takes none: every subject of it is a user.
    """

    def __init__(
        self,
        database: Database,
        owners: DeviceOwners,
        issuer: str | None = None,
        clock: Clock = WALL,
    ) -> None:
        self._database = database
        self._clock = clock
        self._owners = owners
        self._issuer = issuer
        self._ids: Batches[int, int] = Batches(self._load_ids)
        self._handles: Batches[str, int] = Batches(self._load_handles)
        self._subjects: Batches[tuple[str, str], int] = Batches(self._load_subjects)
        self._newcomers: Batches[tuple[str, str], int] = Batches(self._make_users)

    async def user(self, name: Addressee, *, make: bool = False) -> int:
        """Return the user's id; raises Problem 404 `user_not_found`.

        With `make`, a subject of the issuer who has never come becomes a user now. Raises
        StorageUnavailable if the disk does not take that.
        """
        if isinstance(name, Subject):
            found = await self._of_subject(name, make)
        elif isinstance(name, str):
            found = await self._of_handle(name)
        else:
            found = await self._ids.get(name) if 0 < name <= MAX_ID else None
        if found is None:
            raise Problem(404, "user_not_found", "There is no such user.")
        return found

    async def owner(self, device_id: int) -> int:
        """Return the id of the device's user; raises Problem 404 `device_not_found`."""
        owner = await self._owners.load(device_id)
        if owner is None:
            raise Problem(404, "device_not_found", "There is no such device.")
        return owner

    def remembered_owner(self, device_id: int) -> int | None:
        """Return the id of the device's user, `NOBODY` if it does not exist; None if unknown."""
        return self._owners.remembered(device_id)

    async def owns(self, user_id: int, device_id: int) -> bool:
        """Tell whether the user has this device; a select only if memory does not know."""
        return await self._owners.load(device_id) == user_id

    async def close(self) -> None:
        """Wait for running loads to finish."""
        await self._ids.close()
        await self._handles.close()
        await self._subjects.close()
        await self._newcomers.close()

    async def _of_handle(self, handle: str) -> int | None:
        try:
            key = handle_key(clean_handle(handle))
        except Problem:
            return None
        return await self._handles.get(key)

    async def _of_subject(self, name: Subject, make: bool) -> int | None:
        key = name.iss, name.sub
        found = await self._subjects.get(key)
        if found is None and make and name.iss == self._issuer and is_subject(name.sub):
            return await self._newcomers.get(key)
        return found

    async def _load_ids(self, ids: Sequence[int]) -> dict[int, int]:
        async with self._database.lookup() as connection:
            return await users_of_ids(connection, ids)

    async def _load_handles(self, keys: Sequence[str]) -> dict[str, int]:
        async with self._database.lookup() as connection:
            return await users_of_handle_keys(connection, keys)

    async def _load_subjects(
        self, subjects: Sequence[tuple[str, str]]
    ) -> dict[tuple[str, str], int]:
        async with self._database.lookup() as connection:
            return await users_of_subjects(connection, subjects)

    async def _make_users(self, subjects: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        try:
            async with self._database.write() as connection:
                now = milliseconds(self._clock.stamp())
                await add_outside_users(connection, subjects, now)
                return await users_of_subjects(connection, subjects)
        except (OSError, SQLAlchemyError) as error:
            raise StorageUnavailable from error
