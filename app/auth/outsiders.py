"""Users from outside: known by JWTs alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.clock import Clock, milliseconds
from app.auth.enrolment import NotBefore, enrol_device
from app.auth.jwt import Claims
from app.base.batches import Batches
from app.storage.completion import complete
from app.storage.database import Database
from app.storage.devices import Device, device_ids_of, devices_by_uuid
from app.storage.endings import DeviceEnding
from app.storage.users import User, add_outside_user, outside_users
from app.storage.uses import Uses

OutsiderKey = tuple[str, str, str | None]
"""Issuer, subject, device uuid."""


@dataclass(frozen=True, slots=True)
class Outsider:
    """What the database knows of a token's user and device."""

    user: User | None
    device: Device | None
    not_before: int
    """The latest of user and device, tombstones included; milliseconds."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A token's user and device, and the devices that had to go."""

    user: User
    device: Device | None
    pruned: tuple[DeviceEnding, ...] = ()
    changed: bool = False
    """Whether the list of the user's devices is another one now."""


class Outsiders:
    """Finds the user and device of a token's claims; the first use makes them."""

    def __init__(
        self,
        database: Database,
        limit: int,
        device_uses: Uses,
        not_before: NotBefore,
        clock: Clock,
    ) -> None:
        self._database = database
        self._limit = limit
        self._device_uses = device_uses
        self._not_before = not_before
        self._clock = clock
        self._known: Batches[OutsiderKey, Outsider] = Batches(self._load)

    async def admit(self, claims: Claims) -> Admitted | None:
        """Return who the token stands for; None if it was ended or its user may not act."""
        known = await self._known.get((claims.iss, claims.sub, claims.device_uuid))
        if known is None or not _complete(known, claims):
            return await complete(self._first_use(claims))
        return _admitted(known, claims)

    async def close(self) -> None:
        """No load is running."""
        await self._known.close()

    async def _load(self, keys: Sequence[OutsiderKey]) -> dict[OutsiderKey, Outsider]:
        async with self._database.read() as connection:
            return await _find(connection, keys)

    async def _first_use(self, claims: Claims) -> Admitted | None:
        key = (claims.iss, claims.sub, claims.device_uuid)
        now = milliseconds(self._clock())
        async with self._database.write() as connection:
            known = (await _find(connection, [key])).get(key, Outsider(None, None, 0))
            if _ended(known, claims):
                return None
            user = known.user or await add_outside_user(connection, claims.iss, claims.sub, now)
            if claims.device is None:
                return Admitted(user, None)
            # The limit takes the device least recently seen: let the database know which.
            devices = await device_ids_of(connection, user.id)
            await self._device_uses.write(connection, among=devices)
            enrolled = await enrol_device(
                connection,
                user.id,
                claims.device,
                now=now,
                limit=self._limit,
                not_before=self._not_before,
            )
        return Admitted(user, enrolled.device, enrolled.pruned, enrolled.changed)


def _complete(known: Outsider, claims: Claims) -> bool:
    """Return whether nothing has to be made, be it only because the token is refused."""
    found = known.user is not None and (claims.device is None or known.device is not None)
    return found or _ended(known, claims)


def _ended(known: Outsider, claims: Claims) -> bool:
    disabled = known.user is not None and not known.user.active
    return disabled or int(claims.iat * 1000) <= known.not_before


def _admitted(known: Outsider, claims: Claims) -> Admitted | None:
    if known.user is None or _ended(known, claims):
        return None
    return Admitted(known.user, known.device)


async def _find(
    connection: AsyncConnection, keys: Sequence[OutsiderKey]
) -> dict[OutsiderKey, Outsider]:
    users = await _users(connection, keys)
    user_ids = [user.id for rows in users.values() for user in rows]
    uuids = {uuid for _, _, uuid in keys if uuid is not None}
    found = await devices_by_uuid(connection, user_ids, uuids) if user_ids and uuids else []
    by_uuid: dict[tuple[int, str], list[Device]] = {}
    for device in found:
        by_uuid.setdefault((device.user_id, device.device_uuid), []).append(device)
    return {
        key: _outsider(users.get(key[:2], []), key[2], by_uuid) for key in keys if key[:2] in users
    }


async def _users(
    connection: AsyncConnection, keys: Sequence[OutsiderKey]
) -> dict[tuple[str, str], list[User]]:
    found: dict[tuple[str, str], list[User]] = {}
    for iss in {key[0] for key in keys}:
        for user in await outside_users(connection, iss, {key[1] for key in keys}):
            found.setdefault((iss, user.sub or ""), []).append(user)
    return found


def _outsider(
    users: list[User], uuid: str | None, devices: dict[tuple[int, str], list[Device]]
) -> Outsider:
    rows = [device for user in users for device in devices.get((user.id, uuid or ""), [])]
    return Outsider(
        next((user for user in users if user.deleted_at is None), None),
        next((device for device in rows if device.removed_at is None), None),
        max([user.not_before for user in users] + [device.not_before for device in rows]),
    )
