"""What the commands on users do."""

from functools import partial
from operator import attrgetter
from typing import Final

from app.control import users as commands
from app.control.actions.action import Action
from app.control.command import Page, PageArguments
from app.control.operations import Operations
from app.control.users import NewPassword, NewUser, OneUser, SignedOut, UserView
from app.storage.users import User


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


async def _list(operations: Operations, arguments: PageArguments) -> Page[UserView]:
    limit = arguments.limit
    found = await operations.accounts.list_users(after=arguments.after, limit=limit + 1)
    return Page[UserView].of(found, limit, attrgetter("id"), partial(user_view, operations))


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


ACTIONS: Final = (
    Action(commands.ADD, _add),
    Action(commands.LIST, _list),
    Action(commands.SET_PASSWORD, _set_password),
    Action(commands.DISABLE, _disable),
    Action(commands.ENABLE, _enable),
    Action(commands.DELETE, _delete),
)
