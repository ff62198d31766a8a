"""The command that sends a message, as an application's own backend may."""

from dataclasses import replace
from typing import Any, Literal

from app.control.operations import Arguments, Command, Id, Offline, Operations, Result
from app.errors import Problem
from app.features.device import FORBIDDEN_PREFIXES
from app.node import Send
from app.websocket.messages import SYSTEM_TYPES, ServerMessage, encode, feature_of, is_type


class NewMessage(Arguments):
    """What to send, and where.

    `device` needs `device_id`, `others` (the user's other devices) the one to leave out, and
    `user` needs the user.
    """

    where: Literal["device", "others", "user", "everyone"]
    type: str
    payload: Any = None
    device_id: Id | None = None
    user: str | None = None


class Delivery(Result):
    """Ids of the devices that took the message, and of those connected that could not."""

    delivered: list[int]
    failed: list[int]


async def _send(operations: Operations, arguments: NewMessage) -> Delivery:
    node = operations.running_node()
    _refuse_type(arguments.type)
    _refuse_size(arguments, operations.settings.max_message_bytes)
    delivered = node.send(await _addressed(operations, arguments))
    return Delivery(delivered=delivered.taken, failed=delivered.failed)


async def _addressed(operations: Operations, message: NewMessage) -> Send:
    if message.where == "everyone":
        return Send("everyone", message.type, message.payload)
    if message.where == "user":
        user = await operations.user(message.user or "")
        return Send("user", message.type, message.payload, user_id=user.id)
    device = await operations.accounts.get_device(message.device_id or 0)
    send = Send(message.where, message.type, message.payload, user_id=device.user_id)
    if message.where == "device":
        return replace(send, device_id=device.id)
    return replace(send, exclude_device=device.id)


def _refuse_type(type_: str) -> None:
    if not is_type(type_):
        raise Problem(
            400, "invalid_message", "A type is segments of a-z, 0-9 and _ joined by dots."
        )
    if feature_of(type_) in SYSTEM_TYPES | FORBIDDEN_PREFIXES:
        raise Problem(403, "forbidden", f"The type {type_} is the server's own.")


def _refuse_size(message: NewMessage, limit: int) -> None:
    if len(encode(ServerMessage(message.type, message.payload))) > limit:
        raise Problem(413, "too_large", f"The message is larger than {limit} bytes.")


SEND = Command("send", NewMessage, Delivery, _send, offline=Offline.NEVER)
