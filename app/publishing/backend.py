"""Messages of the application's backend and the operator: what they may be, and sending them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from app.auth.addressees import Addressees, UserName
from app.base.errors import Problem, sentence
from app.node.node import Node, Send
from app.node.registry import Delivered
from app.protocol.keep import Keep, read_keep
from app.protocol.messages import SERVER_PREFIXES, ServerMessage, encode, feature_of, is_type
from app.publishing.receipts import Waiting
from app.streams.committer import Stored


@dataclass(frozen=True, slots=True)
class ToUser:
    """All devices of a user, or all but one."""

    name: UserName
    exclude_device: int | None = None


@dataclass(frozen=True, slots=True)
class ToDevice:
    """One device."""

    device_id: int


@dataclass(frozen=True, slots=True)
class ToEveryone:
    """All devices of all users."""


@dataclass(frozen=True, slots=True)
class Message:
    """What to send; `owner` is who may repeat it by its message id."""

    to: ToUser | ToDevice | ToEveryone
    type: str
    payload: Any
    keep: Keep
    owner: str


Handed = Delivered | asyncio.Future[Stored]
"""What became of a message: done with, or on its way to disk."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The devices that took a message, those that could not, and where it is kept."""

    delivered: list[int]
    failed: list[int] = field(default_factory=list)
    stored: Stored | None = None


def check_type(type_: str) -> None:
    """Raises Problem: 400 `invalid_message` when it is malformed, 403 `forbidden` if it is ours."""
    if not is_type(type_):
        raise Problem(
            400,
            "invalid_message",
            "A type is up to 128 characters: segments of a-z, 0-9 and _ joined by dots.",
        )
    if feature_of(type_) in SERVER_PREFIXES:
        raise Problem(403, "forbidden", f"The type {type_} is the server's own.")


def check_size(type_: str, payload: Any, limit: int) -> None:
    """Raises Problem: 413 `too_large` above `limit` bytes, 400 `invalid_message` when too deep."""
    try:
        size = len(encode(ServerMessage(type_, payload)))
    except orjson.JSONEncodeError:
        raise Problem(400, "invalid_message", "The payload is nested too deep.") from None
    if size > limit:
        raise Problem(413, "too_large", f"The message is larger than {limit} bytes.")


def keep_of(fields: Mapping[str, Any]) -> Keep:
    """Return how a message is to be kept; raises Problem 400 `invalid_message`."""
    try:
        return read_keep(fields)
    except ValueError as fault:
        raise Problem(400, "invalid_message", sentence(str(fault))) from None


def hand_over(node: Node, send: Send) -> Handed:
    """The message is with the node, in the order of the calls.

    Raises Problem 503 `overloaded` when too many wait to be stored.
    """
    return node.submit(send) if send.keep.durable else node.send(send)


async def sent(handed: Handed) -> Sent:
    """Return what became of the message, once it is on disk if it is durable.

    Raises Problem: 409 `too_many_keys`, 409 `id_conflict`, StorageUnavailable.
    """
    if isinstance(handed, Delivered):
        return Sent(handed.taken, handed.failed)
    stored = await handed
    return Sent(stored.delivered, stored=stored)


class Backend:
    """The way of the application's backend to the devices of its users."""

    def __init__(self, node: Node, addressees: Addressees, waiting: Waiting) -> None:
        self._node = node
        self._addressees = addressees
        self._waiting = waiting

    async def address(self, message: Message) -> Send:
        """Return the message, which is checked, for the node.

        Raises Problem 404 `user_not_found` and `device_not_found`.
        """
        send = Send(
            "everyone", message.type, message.payload, keep=message.keep, owner=message.owner
        )
        match message.to:
            case ToEveryone():
                return send
            case ToDevice(device_id):
                owner = await self._addressees.owner(device_id)
                return replace(send, where="device", user_id=owner, device_id=device_id)
            case ToUser(name, exclude_device):
                user_id = await self._addressees.user(name)
                if exclude_device is None:
                    return replace(send, where="user", user_id=user_id)
                if await self._addressees.owner(exclude_device) != user_id:
                    raise Problem(404, "device_not_found", "There is no such device of this user.")
                return replace(send, where="others", user_id=user_id, exclude_device=exclude_device)

    def hand_over(self, send: Send) -> Handed:
        """As the function does."""
        return hand_over(self._node, send)

    async def waiting(self, send: Send, outcome: Sent) -> list[int] | None:
        """Return the devices that have not taken the durable message yet, and will get it.

        None when that cannot be read now.
        """
        if outcome.stored is None:
            return []
        return await self._waiting.devices(send, outcome.stored)

    async def count_waiting(self, outcome: Sent) -> int | None:
        """The same for a message to everyone, as a number."""
        return await self._waiting.count(outcome.stored) if outcome.stored is not None else 0
