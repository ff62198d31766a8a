"""`device.send`: a device sends to another device of its user, to the others, or to all."""

from collections.abc import Awaitable, Callable, Collection, Container
from functools import partial
from typing import Any, Final

from app.features.feature import Accepted, Outcome, Storing
from app.node.connection import Connection
from app.node.inflow import Rate, RateLimit
from app.node.node import Node
from app.protocol.messages import ClientMessage, MessageError, Source, feature_of
from app.protocol.publication import Address, Publication, ToDevice, ToOthers, ToUser
from app.publishing.checks import check_device_type, keep_of
from app.publishing.publisher import Publisher

MAX_DEVICE_ID: Final = (1 << 63) - 1


class DurableLimits:
    """Which durable messages devices may send, and how many of them one connection."""

    def __init__(
        self,
        prefixes: Collection[str],
        per_second: float,
        burst: int,
        clock: Callable[[], float],
    ) -> None:
        self._any = "*" in prefixes
        self._prefixes = frozenset(prefixes)
        self._clock = clock
        # Bytes are limited with all that comes in.
        self._limit = RateLimit(per_second, burst, 0, 1)

    def check(self, connection: Connection, type_: str) -> None:
        """Count one message; raises MessageError `forbidden` or `rate_limited`."""
        if not self._any and feature_of(type_) not in self._prefixes:
            raise MessageError("forbidden", "devices may not send durable messages of this type")
        if self._limit.unlimited:
            return
        now = self._clock()
        rate = connection.inflow.durable_rate
        if rate is None:
            rate = connection.inflow.durable_rate = Rate(self._limit, now)
        if not rate.take(0, now):
            raise MessageError("rate_limited", "too many durable messages; this one is dropped")


class DeviceFeature:
    """Relays messages between the devices of one user."""

    prefix = "device"

    def __init__(
        self, node: Node, publisher: Publisher, owned: Container[str], limits: DurableLimits
    ) -> None:
        self._node = node
        self._publisher = publisher
        self._owned = owned
        self._limits = limits

    def handle(
        self, connection: Connection, message: ClientMessage
    ) -> Outcome | Awaitable[Outcome]:
        """Relay `device.send`; the answer names the devices that took it.

        A durable one is answered when it is on disk; the next message is handled meanwhile. Only a
        device that is away and whose owner is not in memory has to be waited for.

        Raises MessageError or Problem: `unknown_type`; `invalid_message`; `forbidden` for a type
        that devices may not send, or not durably; `device_not_found` for a device that is unknown
        or another user's; `rate_limited` for too many durable messages; `overloaded`.
        """
        publication = self._read(connection, message)
        durable = publication.keep.durable
        if durable:
            self._limits.check(connection, publication.type)
        match publication.to:
            case ToDevice(user_id, device_id):
                if not self._node.manager.is_device_connected(user_id, device_id):
                    owner = self._publisher.remembered_owner(device_id)
                    if owner is None:
                        return self._look_up(connection, publication, device_id)
                    if owner != user_id:
                        raise _not_found()
        if durable:
            return Storing(partial(self._publisher.append, publication))
        return Accepted(self._publisher.send(publication).taken)

    async def _look_up(
        self, connection: Connection, publication: Publication, device_id: int
    ) -> Outcome:
        """Relay to a device that is away, once the database has said whose it is."""
        if not await self._publisher.is_device_of(connection.user_id, device_id):
            raise _not_found()
        if connection.is_closing():
            # It was replaced or revoked meanwhile.
            return None
        if publication.keep.durable:
            return Storing(partial(self._publisher.append, publication))
        return Accepted(self._publisher.send(publication).taken)

    def _read(self, connection: Connection, message: ClientMessage) -> Publication:
        if message.type != "device.send":
            raise MessageError("unknown_type", "the feature device has only device.send")
        body = message.payload
        if not isinstance(body, dict):
            raise MessageError("invalid_message", "device.send needs an object as its payload")
        keep = keep_of(body)
        type_ = check_device_type(body.get("type"), self._owned)
        identified = keep.message_id is not None
        return Publication(
            _address(connection, body.get("to")),
            type_,
            body.get("payload"),
            keep,
            Source(connection.device_id, connection.instance),
            f"device:{connection.device_id}" if identified else "",
            f"user:{connection.user_id}" if identified else "",
        )


def _not_found() -> MessageError:
    return MessageError("device_not_found", "there is no such device of yours")


def _address(connection: Connection, to: Any) -> Address:
    if to == "others":
        return ToOthers(connection.user_id, connection.device_id, connection.instance)
    if to == "user":
        return ToUser(connection.user_id)
    if isinstance(to, int) and not isinstance(to, bool) and 0 < to <= MAX_DEVICE_ID:
        return ToDevice(connection.user_id, to)
    raise MessageError("invalid_message", 'to must be a device id, "others" or "user"')
