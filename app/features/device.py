"""`device.send`: a device sends to another device of its user, to the others, or to all."""

from collections.abc import Awaitable, Collection, Container
from functools import partial
from typing import Any, Final

from app.base.errors import Problem
from app.features.feature import Accepted, Outcome, Storing
from app.node.allowance import Meter, Pace, refusal
from app.node.connection import Connection
from app.node.limited import Limit, Limited
from app.node.node import Node
from app.protocol.messages import ClientMessage, MessageError, Source, feature_of
from app.protocol.publication import Address, Publication, ToDevice, ToOthers, ToUser
from app.publishing.checks import check_device_type, keep_of
from app.publishing.publisher import Publisher

MAX_DEVICE_ID: Final = (1 << 63) - 1


class SendLimits:
    """How much devices may send to each other, and which of it may be durable.

    `connection` is how many durable messages one connection may send; all else is of its user.
    """

    def __init__(
        self, limited: Limited, prefixes: Collection[str] = ("*",), connection: Pace | None = None
    ) -> None:
        self._limited = limited
        self._any = "*" in prefixes
        self._prefixes = frozenset(prefixes)
        self._connection = connection or Pace()

    def check_durable(self, connection: Connection, type_: str) -> None:
        """Count a durable message; raises MessageError `forbidden`, Problem `rate_limited`."""
        if not self._any and feature_of(type_) not in self._prefixes:
            raise MessageError("forbidden", "devices may not send durable messages of this type")
        inflow = connection.inflow
        meter = inflow.durable
        if meter is None:
            meter = inflow.durable = Meter(self._connection)
        wait = meter.take(1, inflow.heard_at)
        if wait:
            raise self.refusal(connection, "connection_durable", wait)
        if inflow.allowance is not None:
            wait = inflow.allowance.durable.take(1, inflow.heard_at)
            if wait:
                raise self.refusal(connection, "durable", wait)

    def refusal(self, connection: Connection, limit: Limit, wait: float) -> Problem:
        """Note that a limit was met, and return the refusal; `wait` is in seconds."""
        self._limited.note(connection.user_id, limit)
        return refusal(limit, wait)


class DeviceFeature:
    """Relays messages between the devices of one user."""

    prefix = "device"

    def __init__(
        self, node: Node, publisher: Publisher, owned: Container[str], limits: SendLimits
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
        or another user's; `rate_limited` for too many durable messages, or too many deliveries;
        `overloaded`.
        """
        publication = self._read(connection, message)
        durable = publication.keep.durable
        if durable:
            self._limits.check_durable(connection, publication.type)
        manager = self._node.manager
        match publication.to:
            case ToDevice(user_id, device_id):
                reach = manager.count(user_id, device_id)
                if not reach:
                    owner = self._publisher.remembered_owner(device_id)
                    if owner is None:
                        return self._look_up(connection, publication, device_id)
                    if owner != user_id:
                        raise _not_found()
            case _:
                # With the sender's own, which is one at most.
                reach = manager.count_of_user(connection.user_id)
        return self._hand_over(connection, publication, reach, durable=durable)

    def _hand_over(
        self, connection: Connection, publication: Publication, reach: int, *, durable: bool
    ) -> Outcome:
        """Have the message delivered to so many connections, and stored first if it is durable."""
        inflow = connection.inflow
        if reach and inflow.allowance is not None:
            wait = inflow.allowance.deliveries.take(reach, inflow.heard_at)
            if wait:
                raise self._limits.refusal(connection, "deliveries", wait)
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
        reach = self._node.manager.count(connection.user_id, device_id)
        durable = publication.keep.durable
        return self._hand_over(connection, publication, reach, durable=durable)

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
