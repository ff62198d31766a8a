"""`device.send`: a device sends to another device of its user, to the others, or to all."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal

from app.node import Node, Send
from app.websocket.connection import Connection
from app.websocket.dispatch import Accepted, Outcome
from app.websocket.messages import (
    RESERVED_PREFIXES,
    SYSTEM_TYPES,
    ClientMessage,
    MessageError,
    Source,
    feature_of,
    is_type,
)

FORBIDDEN_PREFIXES: Final = frozenset({"device", "presence"})
"""Refused on every way in, like the system types."""

DURABLE_FIELDS: Final = ("key", "ttl", "message_id")
MAX_DEVICE_ID: Final = (1 << 63) - 1

KnownDevice = Callable[[int, int], Awaitable[bool]]


class DeviceFeature:
    """Relays messages between the devices of one user."""

    prefix = "device"

    def __init__(
        self, node: Node, known_device: KnownDevice, owned: Callable[[], Collection[str]]
    ) -> None:
        self._node = node
        self._known_device = known_device
        self._owned = owned

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Relay `device.send`; the answer names the devices that took it.

        Raises MessageError: `unknown_type`, `invalid_message`, `forbidden` for a type that devices
        may not send, `device_not_found` for a device that is unknown or another user's.
        """
        if message.type != "device.send":
            raise MessageError("unknown_type", "the feature device has only device.send")
        body = message.payload
        if not isinstance(body, dict):
            raise MessageError("invalid_message", "device.send needs an object as its payload")
        _refuse_durable(body)
        type_ = self._relayed_type(body.get("type"))
        where, device_id = _target(body.get("to"))
        if where == "device" and not await self._known(connection.user_id, device_id):
            raise MessageError("device_not_found", "there is no such device of yours")
        delivered = self._node.send(
            Send(
                where,
                type_,
                body.get("payload"),
                user_id=connection.user_id,
                device_id=device_id,
                source=Source(connection.device_id, connection.instance),
            )
        )
        return Accepted(delivered.taken)

    async def _known(self, user_id: int, device_id: int) -> bool:
        if self._node.manager.is_device_connected(user_id, device_id):
            return True
        return await self._known_device(user_id, device_id)

    def _relayed_type(self, type_: Any) -> str:
        if not isinstance(type_, str) or not is_type(type_):
            raise MessageError("invalid_message", "device.send needs a well-formed type")
        prefix = feature_of(type_)
        if type_ in SYSTEM_TYPES or prefix in SYSTEM_TYPES | FORBIDDEN_PREFIXES:
            raise MessageError("forbidden", "this type is the server's own")
        if "." not in type_:
            raise MessageError("forbidden", "a device may send only types with a dot")
        if prefix in RESERVED_PREFIXES or prefix in self._owned():
            raise MessageError("forbidden", "this prefix belongs to a feature")
        return type_


def _target(to: Any) -> tuple[Literal["device", "others", "user"], int]:
    if to == "others":
        return "others", 0
    if to == "user":
        return "user", 0
    if isinstance(to, int) and not isinstance(to, bool) and 0 < to <= MAX_DEVICE_ID:
        return "device", to
    raise MessageError("invalid_message", 'to must be a device id, "others" or "user"')


def _refuse_durable(body: dict[str, Any]) -> None:
    if body.get("store", "none") != "none":
        raise MessageError("invalid_message", 'this server keeps no messages: store is "none"')
    for name in DURABLE_FIELDS:
        if name in body:
            raise MessageError("invalid_message", f"{name} belongs to durable messages")
