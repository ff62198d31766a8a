"""The one way to address, check and send a message, whoever it comes from.

A backend, an administrator and the command line name *targets*: users and devices as they know
them. The publisher turns a target into an *address* of ids, and hands the publication to the node.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.auth.addressees import Addressee, Addressees
from app.base.errors import Problem
from app.node.node import Node
from app.node.registry import Delivered
from app.protocol.close import Selector
from app.protocol.keep import Keep
from app.protocol.messages import ServerMessage, encode, feature_of
from app.protocol.publication import (
    Address,
    Publication,
    ToDevice,
    ToEveryone,
    ToOthers,
    ToUser,
)
from app.publishing.checks import check_type, too_deep
from app.streams.committer import Done, Stored


@dataclass(frozen=True, slots=True)
class UserTarget:
    """All devices of a user, or all but one."""

    name: Addressee
    exclude_device: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """One device."""

    device_id: int


@dataclass(frozen=True, slots=True)
class OthersTarget:
    """All devices of a device's user but this one."""

    device_id: int


@dataclass(frozen=True, slots=True)
class EveryoneTarget:
    """All devices of all users."""


Target = UserTarget | DeviceTarget | OthersTarget | EveryoneTarget


@dataclass(frozen=True, slots=True)
class Draft:
    """A message whose target is still a name.

    `owner` is who may repeat it by its message id, and whose ids are counted: an API key or the
    operator.
    """

    target: Target
    type: str
    payload: Any
    keep: Keep
    owner: str


Handed = Delivered | asyncio.Future[Stored]
"""An ephemeral message that was delivered, or a durable one on its way to disk."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The devices that took a message, those that could not, and where it is kept."""

    delivered: list[int]
    failed: list[int] = field(default_factory=list)
    stored: Stored | None = None


class Publisher:
    """Checks messages of at most `max_bytes`, addresses them, and hands them to the node."""

    def __init__(self, node: Node, addressees: Addressees, max_bytes: int) -> None:
        self._node = node
        self._addressees = addressees
        self._max_bytes = max_bytes

    def check(self, type_: str, payload: Any) -> None:
        """Raise Problem: 400 `invalid_message`, 403 `forbidden`, 413 `too_large`."""
        check_type(type_)
        try:
            size = len(encode(ServerMessage(type_, payload)))
        except orjson.JSONEncodeError:
            raise too_deep() from None
        if size > self._max_bytes:
            raise Problem(413, "too_large", f"The message is larger than {self._max_bytes} bytes.")

    async def address(self, draft: Draft) -> Publication:
        """Return the message, with the ids of whom its target names.

        A durable message to a subject of the application who has never come makes the user: it
        waits for them. Raises Problem 404 `user_not_found` and `device_not_found`, and
        StorageUnavailable.
        """
        to = await self._address_of(draft.target, make=draft.keep.durable)
        owner = draft.owner
        return Publication(to, draft.type, draft.payload, draft.keep, owner=owner, sender=owner)

    def remembered_owner(self, device_id: int) -> int | None:
        """Return the id of the device's user, 0 if there is none; None if memory does not know."""
        return self._addressees.remembered_owner(device_id)

    async def is_device_of(self, user_id: int, device_id: int) -> bool:
        """Tell whether the user has this device, which may be away."""
        return await self._addressees.owns(user_id, device_id)

    def hand_over(self, publication: Publication) -> Handed:
        """Give the message to the node; messages keep the order of these calls.

        Raises Problem 503 `overloaded` when too many wait to be stored.
        """
        if not publication.keep.durable:
            return self.send(publication)
        return appended(self.append, publication)

    def send(self, publication: Publication) -> Delivered:
        """Hand an ephemeral message to those connected now.

        Raises Problem 400 `invalid_message` for a payload that is nested too deep.
        """
        try:
            return self._node.send(publication)
        except orjson.JSONEncodeError:
            raise too_deep() from None

    def append(self, publication: Publication, done: Done) -> None:
        """Have a durable message stored; `done` gets what came of it, without a future.

        Raises Problem 400 `invalid_message` for a payload that is nested too deep, 503
        `overloaded`.
        """
        try:
            self._node.append(publication, done)
        except orjson.JSONEncodeError:
            raise too_deep() from None

    def send_to_connection(self, connection_id: str, type_: str, payload: Any) -> bool:
        """Hand a message, which is not kept, to one connection; tell whether it took it.

        Raises Problem as `check` does, and 404 `connection_not_found`.
        """
        self.check(type_, payload)
        for connection in self._node.manager.connections(Selector(connection_id=connection_id)):
            taken = connection.send(ServerMessage(type_, payload).frame)
            self._node.metrics.sent.add(feature_of(type_), int(taken))
            return taken
        raise connection_not_found()

    async def _address_of(self, target: Target, *, make: bool) -> Address:
        match target:
            case EveryoneTarget():
                return ToEveryone()
            case DeviceTarget(device_id):
                return ToDevice(await self._addressees.owner(device_id), device_id)
            case OthersTarget(device_id):
                return ToOthers(await self._addressees.owner(device_id), device_id)
            case UserTarget(name, exclude_device):
                if exclude_device is None:
                    return ToUser(await self._addressees.user(name, make=make))
                # Who has a device has come.
                user_id = await self._addressees.user(name)
                if await self._addressees.owner(exclude_device) != user_id:
                    raise Problem(404, "device_not_found", "There is no such device of this user.")
                return ToOthers(user_id, exclude_device)


def connection_not_found() -> Problem:
    """Return the refusal for a connection that never was, or has ended."""
    return Problem(404, "connection_not_found", "There is no such connection now.")


def appended(
    append: Callable[[Publication, Done], None], publication: Publication
) -> "asyncio.Future[Stored]":
    """Have a durable message stored by `append`; the future gets what came of it.

    Raises Problem 503 `overloaded`; the future raises the others.
    """
    future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()

    def done(outcome: Stored | Problem) -> None:
        if future.done():
            return
        if isinstance(outcome, Problem):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    append(publication, done)
    return future


async def sent(handed: Handed) -> Sent:
    """Return what became of the message, once it is on disk if it is durable.

    Raises Problem: 409 `too_many_keys`, 409 `id_conflict`, 429 `too_many_ids`, StorageUnavailable.
    """
    if isinstance(handed, Delivered):
        return Sent(handed.taken, handed.failed)
    stored = await handed
    return Sent(stored.delivered, stored=stored)
