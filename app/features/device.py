"""`device.send`: a device sends to another device of its user, to the others, or to all."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal

import orjson

from app.features.dispatch import LATER, Accepted, Later, Outcome, Storing
from app.node.connection import Connection
from app.node.node import Node, Send
from app.node.rate import Rate, RateLimit
from app.protocol.keep import Keep, read_keep
from app.protocol.messages import (
    RESERVED_PREFIXES,
    SERVER_PREFIXES,
    ClientMessage,
    MessageError,
    Source,
    feature_of,
    is_type,
)

MAX_DEVICE_ID: Final = (1 << 63) - 1

KnownDevice = Callable[[int, int], Awaitable[bool]]


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
        rate = connection.durable_rate
        if rate is None:
            rate = connection.durable_rate = Rate(self._limit, now)
        if not rate.take(0, now):
            raise MessageError("rate_limited", "too many durable messages; this one is dropped")


class DeviceFeature:
    """Relays messages between the devices of one user."""

    prefix = "device"

    def __init__(
        self,
        node: Node,
        known_device: KnownDevice,
        owned: Callable[[], Collection[str]],
        limits: DurableLimits,
    ) -> None:
        self._node = node
        self._limits = limits
        self._known_device = known_device
        self._owned = owned

    async def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Relay `device.send`; the answer names the devices that took it.

        A durable one is answered when it is on disk; the next message is handled meanwhile.

        Raises MessageError: `unknown_type`, `invalid_message`, `forbidden` for a type that devices
        may not send, or not durably, `device_not_found` for a device that is unknown or another
        user's, `rate_limited` for too many durable ones.
        """
        send = self._read(connection, message)
        if send.keep.durable:
            self._limits.check(connection, send.type)
        if self._is_away(send) and not await self._known_device(send.user_id, send.device_id):
            raise MessageError("device_not_found", "there is no such device of yours")
        if connection.is_closing():
            # It was replaced or revoked while the device was looked up: it acts no more.
            return None
        return self._go(send)

    def handle_now(self, connection: Connection, message: ClientMessage) -> Outcome | Later:
        """Do what `handle` does, unless the database has to be asked for the device."""
        send = self._read(connection, message)
        if self._is_away(send):
            return LATER
        if send.keep.durable:
            self._limits.check(connection, send.type)
        return self._go(send)

    def _read(self, connection: Connection, message: ClientMessage) -> Send:
        if message.type != "device.send":
            raise MessageError("unknown_type", "the feature device has only device.send")
        body = message.payload
        if not isinstance(body, dict):
            raise MessageError("invalid_message", "device.send needs an object as its payload")
        keep = _keep(body)
        type_ = self._relayed_type(body.get("type"))
        where, device_id = _target(body.get("to"))
        return Send(
            where,
            type_,
            body.get("payload"),
            user_id=connection.user_id,
            device_id=device_id,
            source=Source(connection.device_id, connection.instance),
            keep=keep,
            owner=f"device:{connection.device_id}" if keep.message_id is not None else "",
        )

    def _is_away(self, send: Send) -> bool:
        return send.where == "device" and not self._node.manager.is_device_connected(
            send.user_id, send.device_id
        )

    def _go(self, send: Send) -> Outcome:
        try:
            if send.keep.durable:
                storing = Storing()
                self._node.store(send, storing.settle)
                return storing
            return Accepted(self._node.send(send).taken)
        except orjson.JSONEncodeError:
            # Read it can be, but not written again.
            raise MessageError("invalid_message", "the payload is nested too deeply") from None

    def _relayed_type(self, type_: Any) -> str:
        if not isinstance(type_, str) or not is_type(type_):
            raise MessageError("invalid_message", "device.send needs a well-formed type")
        prefix = feature_of(type_)
        # A system type has no dot, so it is its own prefix.
        if prefix in SERVER_PREFIXES:
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


def _keep(body: dict[str, Any]) -> Keep:
    try:
        return read_keep(body)
    except ValueError as fault:
        raise MessageError("invalid_message", str(fault)) from None
