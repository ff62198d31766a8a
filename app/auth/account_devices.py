"""Writes on devices."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.account_writes import AccountWrites
from app.auth.endings import ToClose
from app.auth.names import clean_name
from app.auth.sessions import no_valid_session
from app.auth.tokens import Identity
from app.base.errors import Problem
from app.base.tasks import complete
from app.storage.devices import Device, devices_of, live_device, set_device_name
from app.storage.endings import DeviceEnding, remove_devices


class DeviceWrites(AccountWrites):
    """Lists, renames and revokes devices; `Enrolment` makes them."""

    async def list_devices(
        self,
        user_id: int | None = None,
        include_removed: bool = False,
        *,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Device]:
        """Return the devices of the user, or of all users, by id, as last seen up to now.

        They have ids above `after`. Without a `limit` those of all users, and removed ones, may be
        very many, which hold up the event loop.
        """
        async with self._database.lookup() as connection:
            devices = await devices_of(
                connection, user_id, include_removed=include_removed, after=after, limit=limit
            )
        return [self._seen(device) for device in devices]

    async def get_device(self, device_id: int) -> Device:
        """Return the device; raises Problem 404 `device_not_found`."""
        async with self._database.lookup() as connection:
            device = await live_device(connection, device_id)
        return self._seen(_owned(device, None))

    async def known_device(self, user_id: int, device_id: int) -> bool:
        """Return whether the user has this device; a select only if memory does not know it."""
        return await self._sessions.owners.load(device_id) == user_id

    async def rename_device(self, user_id: int, device_id: int, name: str | None) -> Device:
        """Return the user's device under its new name; a blank one removes the name.

        Raises Problem 404 `device_not_found`, also for a device of another user.
        """
        return self._seen(await complete(self._rename(user_id, device_id, name)))

    async def revoke_device(self, device_id: int, user_id: int | None = None) -> ToClose:
        """Remove the device and its sessions; with `user_id`, only if it is that user's.

        Raises Problem 404 `device_not_found`.
        """
        return await self._finish_ending(self._revoke(device_id, user_id))

    async def revoke_other_devices(self, identity: Identity) -> tuple[list[int], ToClose]:
        """Remove every device of the user but the one that asks; return their ids too.

        Raises Problem 401 `unauthorized` if the session of the one that asks has ended meanwhile.
        """
        return await self._finish(self._revoke_others(identity), lambda outcome: outcome[1])

    async def _rename(self, user_id: int, device_id: int, name: str | None) -> Device:
        async with self._database.write() as connection:
            _owned(await live_device(connection, device_id), user_id)
            device = await set_device_name(connection, device_id, clean_name(name))
        self._sessions.on_devices_changed(user_id)
        return device

    async def _revoke(self, device_id: int, user_id: int | None) -> ToClose:
        async with self._database.write() as connection:
            device = _owned(await live_device(connection, device_id), user_id)
            endings = await self._remove(connection, device.user_id, [device])
        return self._end(endings)

    async def _revoke_others(self, identity: Identity) -> tuple[list[int], ToClose]:
        async with self._database.write() as connection:
            # Within the transaction: a device that was revoked just now revokes no other.
            if not self._sessions.holds(identity):
                raise no_valid_session()
            others = [
                device
                for device in await devices_of(connection, identity.user_id)
                if device.id != identity.device_id
            ]
            endings = await self._remove(connection, identity.user_id, others)
        return [device.id for device in others], self._end(endings)

    async def _remove(
        self, connection: AsyncConnection, user_id: int, removed: Sequence[Device]
    ) -> list[DeviceEnding]:
        not_before = self._sessions.not_before_of(user_id, [device.id for device in removed])
        return await remove_devices(connection, removed, now=self._now(), not_before=not_before)

    def _seen(self, device: Device) -> Device:
        seen = self._sessions.device_uses.last(device.id)
        return replace(device, last_seen=seen) if seen > device.last_seen else device


def _owned(device: Device | None, user_id: int | None) -> Device:
    """Return the device; raises Problem 404 if there is none, or none of this user."""
    if device is None or user_id not in (None, device.user_id):
        raise Problem(404, "device_not_found", "There is no such device.")
    return device
