"""The command that sends a message, as an application's own backend may."""

from typing import Any, Final, Literal

from app.control.command import Arguments, Command, Id, Offline, Result


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


SEND: Final = Command[NewMessage, SendResult]("send", NewMessage, SendResult, offline=Offline.NEVER)
