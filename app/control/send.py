"""The command that sends a message, as an application's own backend may."""

from dataclasses import replace
from typing import Any, Literal

from app.control.operations import Arguments, Command, Id, Offline, Operations, Result
from app.node.node import Send
from app.publishing.backend import check_size, check_type, hand_over, keep_of, sent

OWNER = "operator"
"""Who may repeat a message by its id: whoever gives commands."""


class NewMessage(Arguments):
    """What to send, where, and how it is kept.

    `device` needs `device_id`, `others` (the user's other devices) the one to leave out, and
    `user` needs the user. `ttl` is in seconds.
    """

    where: Literal["device", "others", "user", "everyone"]
    type: str
    payload: Any = None
    device_id: Id | None = None
    user: str | None = None
    store: str | None = None
    key: str | None = None
    ttl: int | None = None
    message_id: str | None = None


class Delivery(Result):
    """Ids of the devices that took the message, and of those connected that could not.

    A durable message has its place in the stream too.
    """

    delivered: list[int]
    failed: list[int]
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool | None = None


async def _send(operations: Operations, arguments: NewMessage) -> Delivery:
    node = operations.running_node()
    keep = keep_of(arguments.model_dump(include={"store", "key", "ttl", "message_id"}))
    check_type(arguments.type)
    check_size(arguments.type, arguments.payload, operations.settings.max_message_bytes)
    send = await _addressed(operations, arguments)
    outcome = await sent(hand_over(node, replace(send, keep=keep, owner=OWNER)))
    delivery = Delivery(delivered=outcome.delivered, failed=outcome.failed)
    if outcome.stored is None:
        return delivery
    stored = outcome.stored
    place = {"epoch": stored.epoch, "offset": stored.offset, "duplicate": stored.duplicate}
    return delivery.model_copy(update=place)


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


SEND = Command("send", NewMessage, Delivery, _send, offline=Offline.NEVER)
