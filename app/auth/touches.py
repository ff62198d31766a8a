"""When sessions and devices were used last, gathered until written in one batch."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.storage.uses import device_ids_of, set_last_seen, set_last_used


class Touches:
    """The uses that are not yet in the database; times are milliseconds since the epoch."""

    def __init__(self) -> None:
        self._sessions: dict[int, int] = {}
        self._devices: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._sessions or self._devices)

    def mark(self, session_id: int | None, device_id: int | None, now: int) -> None:
        """Session and device were used now."""
        if session_id is not None:
            self._sessions[session_id] = now
        if device_id is not None:
            self._devices[device_id] = now

    def session_used(self, session_id: int) -> int:
        """Return the last use that is not yet written; 0 if there is none."""
        return self._sessions.get(session_id, 0)

    def device_seen(self, device_id: int) -> int:
        """Return the last use that is not yet written; 0 if there is none."""
        return self._devices.get(device_id, 0)

    async def write(self, connection: AsyncConnection) -> None:
        """The database knows every use, once the caller's transaction is committed."""
        await set_last_used(connection, dict(self._sessions))
        await set_last_seen(connection, dict(self._devices))

    async def write_devices_of(self, connection: AsyncConnection, user_id: int) -> None:
        """The same for the devices of one user; the other uses wait for the next batch."""
        seen = {
            device_id: at
            for device_id in await device_ids_of(connection, user_id)
            if (at := self._devices.get(device_id)) is not None
        }
        await set_last_seen(connection, seen)

    def copy(self) -> "Touches":
        """Return the uses of now, to be written while others come in."""
        copied = Touches()
        copied._sessions, copied._devices = dict(self._sessions), dict(self._devices)
        return copied

    def forget(self, written: "Touches") -> None:
        """What was written is not written again."""
        _forget(self._sessions, written._sessions)
        _forget(self._devices, written._devices)


def _forget(pending: dict[int, int], written: dict[int, int]) -> None:
    for number, at in written.items():
        if pending.get(number) == at:
            del pending[number]
