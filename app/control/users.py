"""Commands on users."""

from typing import Literal

from pydantic import Field

from app.control.operations import Arguments, Command, NoArguments, Offline, Operations, Result
from app.storage.users import User


class UserView(Result):
    """A user as an operator sees one; times are milliseconds since 1970 (UTC)."""

    id: int
    handle: str | None
    issuer: str | None = None
    subject: str | None = None
    roles: list[str]
    state: Literal["active", "disabled"]
    created_at: int
    connected_devices: int = 0


class SignedOut(Result):
    """A user whose sessions a change has ended, and how many live connections that closed."""

    user: UserView
    connections_closed: int


class NewUser(Arguments):
    """The user to add."""

    handle: str
    password: str = Field(repr=False)
    admin: bool = False


class NewPassword(Arguments):
    """A user and their new password."""

    user: str
    password: str = Field(repr=False)


class OneUser(Arguments):
    """A user: a handle, or `id=NUMBER`."""

    user: str


def user_view(operations: Operations, user: User) -> UserView:
    """Return what an operator may see of a user."""
    return UserView(
        id=user.id,
        handle=user.handle,
        issuer=user.iss,
        subject=user.sub,
        roles=list(user.roles),
        state="active" if user.disabled_at is None else "disabled",
        created_at=user.created_at,
        connected_devices=len(operations.online(user.id)),
    )


async def _add(operations: Operations, arguments: NewUser) -> UserView:
    roles = ("admin",) if arguments.admin else ()
    user = await operations.accounts.add_user(arguments.handle, arguments.password, roles)
    return user_view(operations, user)


async def _list(operations: Operations, _: NoArguments) -> list[UserView]:
    return [user_view(operations, user) for user in await operations.accounts.list_users()]


async def _set_password(operations: Operations, arguments: NewPassword) -> SignedOut:
    user = await operations.user(arguments.user)
    ended = await operations.accounts.set_password(user.id, arguments.password)
    return await _signed_out(operations, user.id, operations.end(ended))


async def _disable(operations: Operations, arguments: OneUser) -> SignedOut:
    user = await operations.user(arguments.user)
    closed = operations.end(await operations.accounts.disable_user(user.id))
    return await _signed_out(operations, user.id, closed)


async def _enable(operations: Operations, arguments: OneUser) -> UserView:
    user = await operations.user(arguments.user)
    await operations.accounts.enable_user(user.id)
    return user_view(operations, await operations.accounts.get_user(user.id))


async def _delete(operations: Operations, arguments: OneUser) -> SignedOut:
    user = await operations.user(arguments.user)
    closed = operations.end(await operations.accounts.delete_user(user.id))
    return SignedOut(user=user_view(operations, user), connections_closed=closed)


async def _signed_out(operations: Operations, user_id: int, closed: int) -> SignedOut:
    user = await operations.accounts.get_user(user_id)
    return SignedOut(user=user_view(operations, user), connections_closed=closed)


ADD = Command("users.add", NewUser, UserView, _add, offline=Offline.CREATES)
LIST = Command("users.list", NoArguments, list[UserView], _list)
SET_PASSWORD = Command("users.passwd", NewPassword, SignedOut, _set_password)
DISABLE = Command("users.disable", OneUser, SignedOut, _disable)
ENABLE = Command("users.enable", OneUser, UserView, _enable)
DELETE = Command("users.delete", OneUser, SignedOut, _delete)
