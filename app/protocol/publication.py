"""A message on its way to devices: where it goes, and how it is kept. Pure.

The shapes are not frozen, which would make each of them cost five times as much; nobody changes
one.
"""

from dataclasses import dataclass
from typing import Any

from app.protocol.keep import NOT_KEPT, Keep
from app.protocol.messages import Source


@dataclass(slots=True)
class ToDevice:
    """All connections of one device of this user."""

    user_id: int
    device_id: int


@dataclass(slots=True)
class ToUser:
    """All devices of the user."""

    user_id: int


@dataclass(slots=True)
class ToOthers:
    """All devices of the user but one, or but one instance of it; `None` leaves all of it out."""

    user_id: int
    device_id: int
    instance: str | None = None


@dataclass(slots=True)
class ToEveryone:
    """All devices of all users."""


Address = ToDevice | ToUser | ToOthers | ToEveryone


@dataclass(slots=True)
class Publication:
    """A message, where it goes, how it is kept, and from which device and instance it comes.

    `owner` is who may repeat a durable one by its `message_id`: `device:7`, `key:3`, `operator`.
    `sender` is whose id it counts as: `user:5` for all devices of a user, `key:3`; without one, the
    owner's own for this user.
    """

    to: Address
    type: str
    payload: Any = None
    keep: Keep = NOT_KEPT
    source: Source | None = None
    owner: str = ""
    sender: str = ""
