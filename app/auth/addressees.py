"""From the names that a backend gives to users and devices to their ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.auth.handles import clean_handle, handle_key
from app.auth.owners import DeviceOwners
from app.base.batches import Batches
from app.base.errors import Problem
from app.storage.addressees import users_of_handle_keys, users_of_ids, users_of_subjects
from app.storage.database import Database
from app.storage.schema import MAX_ID


@dataclass(frozen=True, slots=True)
class Subject:
    """A user of the application's own accounts, as JWTs name them."""

    iss: str
    sub: str


UserName = int | str | Subject
"""A user's id, their handle, or who they are outside."""


class Addressees:
    """Looks up many names at once: each kind costs one select, however many ask meanwhile."""

    def __init__(self, database: Database, owners: DeviceOwners) -> None:
        self._database = database
        self._owners = owners
        self._ids: Batches[int, int] = Batches(self._load_ids)
        self._handles: Batches[str, int] = Batches(self._load_handles)
        self._subjects: Batches[tuple[str, str], int] = Batches(self._load_subjects)

    async def user(self, name: UserName) -> int:
        """Return the user's id; raises Problem 404 `user_not_found`."""
        if isinstance(name, Subject):
            found = await self._subjects.get((name.iss, name.sub))
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

    async def owns(self, user_id: int, device_id: int) -> bool:
        """Tell whether the user has this device; a select only if memory does not know."""
        return await self._owners.load(device_id) == user_id

    async def close(self) -> None:
        """Nothing is loading."""
        await self._ids.close()
        await self._handles.close()
        await self._subjects.close()

    async def _of_handle(self, handle: str) -> int | None:
        try:
            key = handle_key(clean_handle(handle))
        except Problem:
            return None
        return await self._handles.get(key)

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
