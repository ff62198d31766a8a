"""What the command that sends a message does."""

from typing import Final

from app.control import send as commands
from app.control.actions.action import Action
from app.control.operations import Operations, user_name
from app.control.send import NewMessage, SendResult
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


ACTIONS: Final = (Action(commands.SEND, _send),)
