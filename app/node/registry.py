"""Who is connected to this node.

Every method is a plain `def` that never waits, so between two awaits of a caller there is no half
state and no need for a lock.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from app.base.errors import Disconnected, NotConnected
from app.node.connection import Connection
from app.protocol.close import REPLACED, TOO_MANY, Close, Selector
from app.protocol.messages import ServerMessage


@dataclass(frozen=True, slots=True)
class Registration:
    """A connection that is registered now, and those that had to make way for it."""

    connection: Connection
    displaced: list[tuple[Connection, Close]]


@dataclass(slots=True)
class Delivered:
    """Ids of the devices of which a connection took the message, and of those of which none did."""

    taken: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)


Instances = tuple[Connection, ...]
"""At most some dozens, so a tuple finds one as fast as a dict and takes a quarter of its memory."""


Watcher = Callable[[Connection], None]
"""Called with each connection that has just come or gone; it changes nothing in the manager."""


class ConnectionManager:
    """Who is connected to this node. An instance of a device has one connection at a time.

    `watcher`, while it is set, is told of every connection that comes or goes.
    """

    def __init__(self, *, per_device: int = 16, per_user: int = 256) -> None:
        self.watcher: Watcher | None = None
        self._per_device = per_device
        self._per_user = per_user
        self._users: dict[int, dict[int, Instances]] = {}
        self._totals: dict[int, int] = {}
        """Connections of each user, since a message of a device is charged by how many get it."""
        self._by_id: dict[str, Connection] = {}

    def register(self, connection: Connection) -> Registration:
        """Make the connection reachable; those it displaced are reachable no more.

        The caller closes the displaced ones with the codes given.
        """
        devices = self._users.setdefault(connection.user_id, {})
        instances = devices.get(connection.device_id, ())
        displaced: list[tuple[Connection, Close]] = []
        former = _find(instances, connection.instance)
        if former is not None:
            displaced.append((former, REPLACED))
        elif len(instances) >= self._per_device:
            displaced.append((_quietest(instances), TOO_MANY))
        elif self._totals.get(connection.user_id, 0) >= self._per_user:
            everyone = (one for some in devices.values() for one in some)
            displaced.append((_quietest(everyone), TOO_MANY))
        for old, _ in displaced:
            self._remove(old)
        self._users.setdefault(connection.user_id, devices)
        devices[connection.device_id] = (*devices.get(connection.device_id, ()), connection)
        self._by_id[connection.connection_id] = connection
        self._totals[connection.user_id] = self._totals.get(connection.user_id, 0) + 1
        if self.watcher is not None:
            self.watcher(connection)
        return Registration(connection, displaced)

    def unregister(self, connection: Connection) -> bool:
        """Make this very connection unreachable; False if it was already, or was displaced."""
        if not self.is_registered(connection):
            return False
        self._remove(connection)
        return True

    def send_to_device(self, user_id: int, device_id: int, message: ServerMessage) -> None:
        """Hand the message to all connections of the device.

        Raises NotConnected when it has none here, Disconnected when none of them could take it.
        """
        instances = self._users.get(user_id, {}).get(device_id)
        if not instances:
            raise NotConnected(user_id, device_id)
        frame = message.frame
        if not [None for connection in instances if connection.send(frame)]:
            raise Disconnected(user_id, device_id)

    def send_to_other_devices(
        self, user_id: int, source_device_id: int, message: ServerMessage
    ) -> list[int]:
        """Hand the message to the user's devices but one; return the ids of those that failed."""
        return self.deliver(user_id, message, without_device=source_device_id).failed

    def send_to_others(
        self, user_id: int, device_id: int, instance: str, message: ServerMessage
    ) -> list[int]:
        """Hand the message to all the user's connections but that instance of that device.

        Returns the ids of devices of which no connection could take it.
        """
        return self.deliver(user_id, message, without_instance=(device_id, instance)).failed

    def broadcast_to_user(self, user_id: int, message: ServerMessage) -> list[int]:
        """Hand the message to all devices of the user; return the ids of those that failed."""
        return self.deliver(user_id, message).failed

    def broadcast_to_all(self, message: ServerMessage) -> list[int]:
        """Hand the message to every connection; return the ids of devices that failed."""
        return [
            device_id
            for user_id in self._users
            for device_id in self.deliver(user_id, message).failed
        ]

    def deliver(
        self,
        user_id: int,
        message: ServerMessage,
        *,
        without_device: int | None = None,
        without_instance: tuple[int, str] | None = None,
    ) -> Delivered:
        """Hand the message to the user's connections that are not left out; tell who took it."""
        outcome = Delivered()
        frame = message.frame
        take = outcome.taken.append
        partly, left_out = without_instance or (None, "")
        for device_id, instances in self._users.get(user_id, {}).items():
            if device_id == without_device:
                continue
            asked = taken = False
            for connection in instances:
                if device_id == partly and connection.instance == left_out:
                    continue
                asked = True
                if connection.send(frame):
                    taken = True
            if taken:
                take(device_id)
            elif asked:
                outcome.failed.append(device_id)
        return outcome

    def get_connected_devices(self, user_id: int) -> list[int]:
        """Return the ids of the user's devices that are connected here."""
        return list(self._users.get(user_id, ()))

    def get_connected_users(self) -> list[int]:
        """Return the ids of the users that are connected here."""
        return list(self._users)

    def is_device_connected(self, user_id: int, device_id: int) -> bool:
        """Tell whether the device has a connection here."""
        return device_id in self._users.get(user_id, ())

    def is_registered(self, connection: Connection) -> bool:
        """Tell whether this very connection is reachable."""
        return self._by_id.get(connection.connection_id) is connection

    def count(self, user_id: int, device_id: int) -> int:
        """Return how many connections the device has here."""
        devices = self._users.get(user_id)
        return len(devices[device_id]) if devices and device_id in devices else 0

    def count_of_user(self, user_id: int) -> int:
        """Return how many connections the user has here."""
        return self._totals.get(user_id, 0)

    def is_user_connected(self, user_id: int) -> bool:
        """Tell whether the user has a connection here."""
        return user_id in self._users

    def counts(self, user_id: int) -> dict[int, int]:
        """Return how many connections each device of the user has here; 0 is left out."""
        devices = self._users.get(user_id, {})
        return {device_id: len(instances) for device_id, instances in devices.items()}

    def connections(self, selector: Selector | None = None) -> list[Connection]:
        """Return the connections that match, as they are now; all of them without a selector."""
        if selector is None:
            return list(self._by_id.values())
        return [one for one in self._candidates(selector) if matches(one, selector)]

    def handle_of(self, user_id: int) -> str | None:
        """Return the handle of a user who is connected, None for anybody else."""
        return next((one.handle for one in self.of_user(user_id)), None)

    def of_user(self, user_id: int) -> list[Connection]:
        """Return the user's connections, as they are now."""
        return [one for some in self._users.get(user_id, {}).values() for one in some]

    @property
    def connection_count(self) -> int:
        """Connections on this node."""
        return len(self._by_id)

    @property
    def device_count(self) -> int:
        """Devices with at least one connection on this node."""
        return sum(map(len, self._users.values()))

    @property
    def user_count(self) -> int:
        """Users with at least one connection on this node."""
        return len(self._users)

    def _candidates(self, selector: Selector) -> Iterator[Connection]:
        if selector.connection_id is not None:
            connection = self._by_id.get(selector.connection_id)
            if connection is not None:
                yield connection
        elif selector.user_id is not None:
            for instances in self._users.get(selector.user_id, {}).values():
                yield from instances
        else:
            yield from self._by_id.values()

    def _remove(self, connection: Connection) -> None:
        devices = self._users[connection.user_id]
        left = tuple(one for one in devices[connection.device_id] if one is not connection)
        del self._by_id[connection.connection_id]
        self._totals[connection.user_id] -= 1
        if left:
            devices[connection.device_id] = left
        else:
            del devices[connection.device_id]
        if not devices:
            del self._users[connection.user_id]
            del self._totals[connection.user_id]
        if self.watcher is not None:
            self.watcher(connection)


def _find(instances: Instances, instance: str) -> Connection | None:
    for connection in instances:
        if connection.instance == instance:
            return connection
    return None


def matches(connection: Connection, selector: Selector) -> bool:
    """Tell whether the selector means this connection."""
    return (
        selector.connection_id in (None, connection.connection_id)
        and selector.user_id in (None, connection.user_id)
        and selector.device_id in (None, connection.device_id)
        and selector.session_id in (None, connection.session_id)
        and (
            selector.except_session_id is None
            or selector.except_session_id != connection.session_id
        )
    )


def _quietest(connections: Iterable[Connection]) -> Connection:
    """Return the one least recently heard from; of equals, the oldest."""
    return min(connections, key=lambda one: (one.inflow.heard_at, one.connected_at))
