"""`device.send`: a device sends to another device of its user, to the others, or to all."""

from collections.abc import Callable, Collection, Container
from typing import Any, Final

from app.features.feature import LATER, Accepted, Later, Outcome, Storing
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

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Relay `device.send`; the answer names the devices that took it.

        A durable one is answered when it is on disk; the next message is handled meanwhile.

        Raises MessageError `unknown_type`, `device_not_found` for a device that is unknown or
        another user's, `rate_limited` for too many durable messages, and Problem
        `invalid_message`, `forbidden` for a type that devices may not send, or not durably.
        """
        publication = self._read(connection, message)
        self._count(connection, publication)
        away = self._away(publication)
        if away is not None and not await self._publisher.is_device_of(
            away.user_id, away.device_id
        ):
            raise MessageError("device_not_found", "there is no such device of yours")
        if connection.is_closing():
            # It was replaced or revoked while the device was looked up: it acts no more.
            return None
        return self._hand_over(publication)

    def handle_now(self, connection: Connection, message: ClientMessage) -> Outcome | Later:
        """Do what `handle` does, unless the database has to be asked for the device."""
        publication = self._read(connection, message)
        if self._away(publication) is not None:
            return LATER
        self._count(connection, publication)
        return self._hand_over(publication)

    def _read(self, connection: Connection, message: ClientMessage) -> Publication:
        if message.type != "device.send":
            raise MessageError("unknown_type", "the feature device has only device.send")
        body = message.payload
        if not isinstance(body, dict):
            raise MessageError("invalid_message", "device.send needs an object as its payload")
        keep = keep_of(body)
        type_ = check_device_type(body.get("type"), self._owned)
        return Publication(
            _address(connection, body.get("to")),
            type_,
            body.get("payload"),
            keep,
            Source(connection.device_id, connection.instance),
            f"device:{connection.device_id}" if keep.message_id is not None else "",
        )

    def _away(self, publication: Publication) -> ToDevice | None:
        """Return the one device that the message is for, if it is not connected."""
        match publication.to:
            case ToDevice(user_id, device_id) as to:
                connected = self._node.manager.is_device_connected(user_id, device_id)
                return None if connected else to
            case _:
                return None

    def _count(self, connection: Connection, publication: Publication) -> None:
        if publication.keep.durable:
            self._limits.check(connection, publication.type)

    def _hand_over(self, publication: Publication) -> Outcome:
        if not publication.keep.durable:
            return Accepted(self._publisher.send(publication).taken)
        storing = Storing()
        self._publisher.append(publication, storing.settle)
        return storing


def _address(connection: Connection, to: Any) -> Address:
    if to == "others":
        return ToOthers(connection.user_id, connection.device_id, connection.instance)
    if to == "user":
        return ToUser(connection.user_id)
    if isinstance(to, int) and not isinstance(to, bool) and 0 < to <= MAX_DEVICE_ID:
        return ToDevice(connection.user_id, to)
    raise MessageError("invalid_message", 'to must be a device id, "others" or "user"')
