"""`presence`: who of a user's devices is connected, told to those connections that ask for it.

A connection that comes or goes costs one look-up in a dict if nobody watches its user, and one test
of an attribute if nobody watches anybody on the node.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from app.features.feature import Outcome, Reply
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.messages import ClientMessage, MessageError, ServerMessage

RETRY_SECONDS: Final = 1.0
"""Pause before a connection that could not take a message is told again."""

DEVICES: Final = "presence.devices"
CHANGED: Final = "presence.changed"
LIST_CHANGED: Final = "presence.list_changed"


@dataclass(slots=True)
class _User:
    """A user who is watched, by at least one connection."""

    told: dict[int, int]
    """Connections of each device, as the watching connections know them."""
    watching: set[Connection] = field(default_factory=set)
    stale: dict[Connection, bool] = field(default_factory=dict)
    """Those of them that missed something; True: the list of devices has changed meanwhile."""
    devices: set[int] = field(default_factory=set)
    """Devices of which a connection has come or gone in this tick."""
    listed: bool = False
    """True when the list of devices has changed in this tick."""


class PresenceFeature:
    """Tells the watching connections of a user how many connections each of its devices has."""

    prefix = "presence"

    def __init__(self, node: Node, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._manager = node.manager
        self._loop = asyncio.get_running_loop()
        self._retry_seconds = retry_seconds
        self._users: dict[int, _User] = {}
        self._changed: set[int] = set()
        self._tick: asyncio.Handle | None = None
        self._retry: asyncio.TimerHandle | None = None

    def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Begin or end watching; raises MessageError `unknown_type`."""
        if message.type == "presence.watch":
            return Reply(DEVICES, self._watch(connection))
        if message.type == "presence.unwatch":
            self._unwatch(connection)
            return None
        raise MessageError(
            "unknown_type", "the feature presence has only presence.watch and presence.unwatch"
        )

    def list_changed(self, user_id: int) -> None:
        """Tell watching connections that a device of the user was added, renamed or removed."""
        user = self._users.get(user_id)
        if user is not None:
            user.listed = True
            self._schedule(user_id)

    def close(self) -> None:
        """Stop telling anybody anything."""
        self._manager.watcher = None
        self._users.clear()
        self._changed.clear()
        for handle in (self._tick, self._retry):
            if handle is not None:
                handle.cancel()

    def _watch(self, connection: Connection) -> dict[str, object]:
        """Return the connected devices, and tell the connection of changes from now on."""
        # The answer includes what the others are about to be told.
        self._tell_changes()
        user_id = connection.user_id
        counts = self._manager.counts(user_id)
        # One that is gone already would never be taken out again.
        if self._manager.is_registered(connection):
            user = self._users.setdefault(user_id, _User(counts))
            user.watching.add(connection)
            user.stale.pop(connection, None)
            self._manager.watcher = self._note
        return _devices(counts)

    def _unwatch(self, connection: Connection) -> None:
        user = self._users.get(connection.user_id)
        if user is None:
            return
        user.watching.discard(connection)
        user.stale.pop(connection, None)
        if not user.watching:
            del self._users[connection.user_id]
        if not self._users:
            self._manager.watcher = None

    def _note(self, connection: Connection) -> None:
        """Note a connection that has just come or gone."""
        user = self._users.get(connection.user_id)
        if user is None:
            return
        user.devices.add(connection.device_id)
        self._schedule(connection.user_id)
        if connection in user.watching and not self._manager.is_registered(connection):
            self._unwatch(connection)

    def _schedule(self, user_id: int) -> None:
        self._changed.add(user_id)
        if self._tick is None:
            self._tick = self._loop.call_soon(self._end_tick)

    def _end_tick(self) -> None:
        self._tick = None
        self._tell_changes()

    def _tell_changes(self) -> None:
        """Tell watching connections the sum of the changes of this tick."""
        changed, self._changed = self._changed, set()
        for user_id in changed:
            user = self._users.get(user_id)
            if user is not None:
                self._tell_changes_of(user_id, user)

    def _tell_changes_of(self, user_id: int, user: _User) -> None:
        if user.listed:
            user.listed = False
            self._tell(user, ServerMessage(LIST_CHANGED), listed=True)
        devices, user.devices = user.devices, set()
        for device_id in sorted(devices):
            count = self._manager.count(user_id, device_id)
            if user.told.get(device_id, 0) == count:
                continue
            if count:
                user.told[device_id] = count
            else:
                del user.told[device_id]
            payload = {"device_id": device_id, "connections": count}
            self._tell(user, ServerMessage(CHANGED, payload))

    def _tell(self, user: _User, message: ServerMessage, *, listed: bool = False) -> None:
        frame = message.frame
        for connection in user.watching:
            if connection in user.stale:
                user.stale[connection] |= listed
            elif not connection.send(frame) and not connection.is_closing():
                user.stale[connection] = listed
        if user.stale and self._retry is None:
            self._retry = self._loop.call_later(self._retry_seconds, self._catch_up)

    def _catch_up(self) -> None:
        """Tell the whole state to connections that missed a change, if they can take it now."""
        self._retry = None
        for user in self._users.values():
            if user.stale:
                self._catch_up_with(user)
        if any(user.stale for user in self._users.values()):
            self._retry = self._loop.call_later(self._retry_seconds, self._catch_up)

    def _catch_up_with(self, user: _User) -> None:
        whole = ServerMessage(DEVICES, _devices(user.told)).frame
        again = ServerMessage(LIST_CHANGED).frame
        for connection, listed in list(user.stale.items()):
            if connection.send(whole) and not (listed and not connection.send(again)):
                del user.stale[connection]


def _devices(counts: dict[int, int]) -> dict[str, object]:
    return {
        "devices": [
            {"device_id": device_id, "connections": count}
            for device_id, count in sorted(counts.items())
        ]
    }
