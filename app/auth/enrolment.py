"""Devices and users made by their first use, and the devices removed to stay within the limit."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.jwt import Claims, InvalidJwt
from app.auth.new_devices import NewDevices
from app.base.clock import Clock
from app.base.tasks import Batches, complete
from app.storage.database import Database
from app.storage.devices import (
    Device,
    DeviceInfo,
    add_device,
    device_ids_of,
    devices_above,
    devices_by_uuid,
    live_device_by_uuid,
    refresh_device,
)
from app.storage.endings import DeviceEnding, remove_devices
from app.storage.schema import milliseconds
from app.storage.sessions import which_jwts_ended
from app.storage.users import User, add_outside_user, outside_users
from app.storage.uses import Uses

NotBefore = Callable[[int, Collection[int]], dict[int, int]]
"""Returns, for a user and some of their devices, the time of each up to which JWTs must be refused
to end all known."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A device that may act."""

    device: Device
    pruned: tuple[DeviceEnding, ...]
    """The devices that were removed for it."""
    changed: bool
    """Whether the device is new, or describes itself in another way than before."""


class Enrolment:
    """Gives users their devices, at most `limit` each.

    `connected` returns the ids of a user's devices that have a connection.
    """

    def __init__(
        self, limit: int, device_uses: Uses, not_before: NotBefore, new_devices: NewDevices
    ) -> None:
        self.connected: Callable[[int], Collection[int]] = lambda _user_id: ()
        self.new_devices = new_devices
        self._limit = limit
        self._device_uses = device_uses
        self._not_before = not_before

    async def enrol(
        self,
        connection: AsyncConnection,
        user_id: int,
        info: DeviceInfo,
        now: int,
        *,
        by_operator: bool = False,
    ) -> Enrolled:
        """Give the user this device, and remove what is above the limit.

        That are the devices least recently seen without a connection; with one, only if all others
        are gone.
        A uuid that the user knows keeps its device; one that only others know becomes a new device.
        Unless the operator asks for it, raises Problem 429 `too_many_devices` instead of making a
        new one of a user who had too many today.
        """
        # The database must know which device was seen least recently.
        await self._device_uses.write(connection, await device_ids_of(connection, user_id))
        known = await live_device_by_uuid(connection, user_id, info.device_uuid)
        if known is not None:
            device = await refresh_device(connection, known.id, info, now)
        else:
            if not by_operator:
                await self.new_devices.check(connection, user_id, now)
            device = await add_device(connection, user_id, info, now)
        excess = await devices_above(
            connection,
            user_id,
            keep=self._limit,
            but=device.id,
            connected=self.connected(user_id),
        )
        not_before = self._not_before(user_id, [old.id for old in excess])
        pruned = await remove_devices(connection, excess, now=now, not_before=not_before)
        changed = known is None or _description(known) != _description(device)
        return Enrolled(device, tuple(pruned), changed)


def _description(device: Device) -> tuple[str, str | None, str | None]:
    return device.device_type, device.device_name, device.os_info


# Users from outside


class OutsiderKey(NamedTuple):
    """What names a JWT, its user and its device."""

    iss: str
    sub: str
    device_uuid: str | None
    jwt_hash: bytes


Holder = tuple[int, int]
"""Ids of the user and the device that a token must stand for."""


@dataclass(frozen=True, slots=True)
class Outsider:
    """What the database knows of a JWT's user and device."""

    user: User | None
    device: Device | None
    not_before: int
    """The latest of user and device, tombstones included; milliseconds since the epoch."""
    signed_out: bool = False
    """Whether this very JWT, which has no device, was signed out."""

    @property
    def holder(self) -> Holder | None:
        """User and device, None if one of them is missing."""
        if self.user is None or self.device is None:
            return None
        return self.user.id, self.device.id


@dataclass(frozen=True, slots=True)
class Admitted:
    """The user and the device of a JWT that holds."""

    user: User
    device: Device | None
    pruned: tuple[DeviceEnding, ...] = ()
    """The devices that were removed for this one."""
    changed: bool = False
    """Whether a device of the user is new, or describes itself in another way than before."""


class Outsiders:
    """Finds the user and the device of a JWT's claims; their first use makes them."""

    def __init__(self, database: Database, enrolment: Enrolment, clock: Clock) -> None:
        self._database = database
        self._enrolment = enrolment
        self._clock = clock
        self._known: Batches[OutsiderKey, Outsider] = Batches(self._load)

    async def admit(self, claims: Claims, holder: Holder | None = None) -> Admitted | None:
        """Return whom the JWT stands for; None if it was ended or its user may not act.

        With a `holder` nothing is made for it: raises InvalidJwt for one of anybody else. Raises
        Problem 429 `too_many_devices` for a new device of a user who had too many today.
        """
        known = await self._known.get(_key(claims))
        if holder is not None and (known is None or known.holder != holder):
            raise InvalidJwt("of another user or device", final=False)
        if known is None or not _needs_nothing(known, claims):
            if known is not None and known.user is not None:
                now = milliseconds(self._clock.stamp())
                self._enrolment.new_devices.check_remembered(known.user.id, now)
            return await complete(self._first_use(claims))
        return _admitted(known, claims)

    async def close(self) -> None:
        """Wait for a running load to finish."""
        await self._known.close()

    async def _load(self, keys: Sequence[OutsiderKey]) -> dict[OutsiderKey, Outsider]:
        async with self._database.read() as connection:
            return await _find(connection, keys)

    async def _first_use(self, claims: Claims) -> Admitted | None:
        key = _key(claims)
        now = milliseconds(self._clock.stamp())
        async with self._database.write() as connection:
            found = await _find(connection, [key])
            known = found.get(key, Outsider(user=None, device=None, not_before=0))
            if _ended(known, claims):
                return None
            user = known.user or await add_outside_user(connection, claims.iss, claims.sub, now)
            if claims.device is None:
                return Admitted(user, None)
            enrolled = await self._enrolment.enrol(connection, user.id, claims.device, now)
        return Admitted(user, enrolled.device, enrolled.pruned, enrolled.changed)


def _key(claims: Claims) -> OutsiderKey:
    return OutsiderKey(claims.iss, claims.sub, claims.device_uuid, claims.jwt_hash)


def _needs_nothing(known: Outsider, claims: Claims) -> bool:
    """Return whether nothing is to be made: all is there, or the JWT is refused."""
    found = known.user is not None and (claims.device is None or known.device is not None)
    return found or _ended(known, claims)


def _ended(known: Outsider, claims: Claims) -> bool:
    disabled = known.user is not None and not known.user.active
    return disabled or known.signed_out or milliseconds(claims.iat) <= known.not_before


def _admitted(known: Outsider, claims: Claims) -> Admitted | None:
    if known.user is None or _ended(known, claims):
        return None
    return Admitted(known.user, known.device)


async def _find(
    connection: AsyncConnection, keys: Sequence[OutsiderKey]
) -> dict[OutsiderKey, Outsider]:
    users = await _users(connection, keys)
    user_ids = [user.id for rows in users.values() for user in rows]
    uuids = {key.device_uuid for key in keys if key.device_uuid is not None}
    found = await devices_by_uuid(connection, user_ids, uuids) if user_ids and uuids else []
    by_uuid: dict[tuple[int, str], list[Device]] = {}
    for device in found:
        by_uuid.setdefault((device.user_id, device.device_uuid), []).append(device)
    # With a device, the sign-out is in the device's not_before.
    hashes = [key.jwt_hash for key in keys if key.device_uuid is None]
    signed_out = await which_jwts_ended(connection, hashes) if hashes else set()
    return {
        key: _outsider(users[key[:2]], key, by_uuid, signed_out) for key in keys if key[:2] in users
    }


async def _users(
    connection: AsyncConnection, keys: Sequence[OutsiderKey]
) -> dict[tuple[str, str], list[User]]:
    found: dict[tuple[str, str], list[User]] = {}
    for iss in {key.iss for key in keys}:
        for user in await outside_users(connection, iss, {key.sub for key in keys}):
            found.setdefault((iss, user.sub or ""), []).append(user)
    return found


def _outsider(
    users: list[User],
    key: OutsiderKey,
    devices: dict[tuple[int, str], list[Device]],
    signed_out: set[bytes],
) -> Outsider:
    uuid = key.device_uuid or ""
    rows = [device for user in users for device in devices.get((user.id, uuid), [])]
    not_before = [user.not_before for user in users] + [device.not_before for device in rows]
    return Outsider(
        user=next((user for user in users if user.deleted_at is None), None),
        device=next((device for device in rows if device.removed_at is None), None),
        not_before=max(not_before),
        signed_out=key.jwt_hash in signed_out,
    )
