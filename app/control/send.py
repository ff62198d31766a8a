"""The command that sends a message, as an application's own backend may."""

from typing import Any, Final, Literal

from app.control.operations import Arguments, Command, Id, Offline, Operations, Result, user_name
from app.publishing.checks import keep_of
from app.publishing.publisher import (
    DeviceTarget,
    Draft,
    EveryoneTarget,
    OthersTarget,
    Target,
    UserTarget,
    sent,
)
from app.streams.ids import OPERATOR

_KEEP_FIELDS: Final = {"store", "key", "ttl", "message_id", "delete", "payload"}


class NewMessage(Arguments):
    """What to send, where, and how it is kept.

    `device` needs `device_id`, `others` (the user's other devices) the one to leave out, and
    `user` needs the user. `ttl` is in seconds. `delete` removes the `latest` value of the key.
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
    delete: bool | None = None


class SendResult(Result):
    """Which devices took the message, and which connected ones could not.

    For a durable message it also says where in the stream the message is.
    """

    delivered: list[int]
    failed: list[int]
    epoch: str | None = None
    offset: int | None = None
    duplicate: bool | None = None


async def _send(operations: Operations, arguments: NewMessage) -> SendResult:
    publisher = operations.running_publisher()
    keep = keep_of(arguments.model_dump(include=_KEEP_FIELDS))
    publisher.check(arguments.type, arguments.payload)
    draft = Draft(_target(arguments), arguments.type, arguments.payload, keep, OPERATOR)
    outcome = await sent(publisher.hand_over(await publisher.address(draft)))
    delivery = SendResult(delivered=outcome.delivered, failed=outcome.failed)
    if outcome.stored is None:
        return delivery
    stored = outcome.stored
    place = {"epoch": stored.epoch, "offset": stored.offset, "duplicate": stored.duplicate}
    return delivery.model_copy(update=place)


def _target(message: NewMessage) -> Target:
    match message.where:
        case "everyone":
            return EveryoneTarget()
        case "user":
            return UserTarget(user_name(message.user or ""))
        case "device":
            return DeviceTarget(message.device_id or 0)
        case "others":
            return OthersTarget(message.device_id or 0)


SEND = Command("send", NewMessage, SendResult, _send, offline=Offline.NEVER)
