"""Users, for administrators: searched, added, disabled, given a password, deleted."""

from typing import Any, Final

from aiohttp import web
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.account_writes import user_not_found
from app.auth.passwords import make_password
from app.base.errors import Problem
from app.keys import ACCOUNTS, DATABASE, MANAGER, NODE, SETTINGS
from app.requests.identity import Admin
from app.requests.route import Route
from app.requests.rules import ADMINISTRATOR
from app.storage.directory import Search, device_counts, page_of_users
from app.storage.schema import MAX_ID
from app.storage.users import ADMIN, User
from app.web.admin.access import note, page_limit, read_as_admin, search_for, to_search
from app.web.bodies import SECRET_LENGTH, Absent, Answer, Body, json_response, present
from app.web.parameters import Choice, PathId, WholeNumber

STEP: Final = 500
"""Ids of one select, far below SQLite's 32,766 variables of a statement."""

_MADE: Final = "Made by the server if it is left out."


class NewUserBody(Body):
    """POST /v1/admin/users."""

    user_handle: str = Field(max_length=256)
    password: str | None = Field(None, max_length=SECRET_LENGTH, repr=False, description=_MADE)
    admin: bool | None = Field(None, description="Whether the user is an administrator.")


class UserChangeBody(Body):
    """PATCH /v1/admin/users/{id}; what is left out, or null, stays."""

    disabled: bool | None = Field(None, description="A disabled user may not act.")
    admin: bool | None = Field(None, description="Whether the user is an administrator.")


class NewPasswordBody(Body):
    """POST /v1/admin/users/{id}/password."""

    new_password: str | None = Field(None, max_length=SECRET_LENGTH, repr=False, description=_MADE)


class AdminUserAnswer(Answer):
    """A user as an administrator sees one."""

    id: int
    user_handle: str | Absent = None
    iss: str | Absent = Field(None, description="Of a user from outside, as `sub`.")
    sub: str | Absent = None
    permissions: list[str]
    disabled: bool
    created_at: int
    devices: int
    connections: int = Field(description="Live ones, now.")


class NewUserAnswer(AdminUserAnswer):
    """A user who was just added."""

    password: str | Absent = Field(None, description="If the server made it; shown this once.")


class AdminUserPageAnswer(Answer):
    """A page of users, by id. The next one begins after the last id."""

    users: list[AdminUserAnswer]
    more: bool


class MadePasswordAnswer(Answer):
    """The password is set."""

    password: str | Absent = Field(None, description="If the server made it; shown this once.")


_USER_ID: Final = PathId(what="The user's id.", missing=user_not_found)
_SEARCH: Final = search_for("A part of a handle, or of a `sub`.")
_ONLINE: Final = Choice(name="online", what="`1`: only who is connected now.", choices=("0", "1"))
_AFTER: Final = WholeNumber(
    name="after", what="The id after which the page begins.", least=0, most=MAX_ID, default=0
)
_LIMIT: Final = page_limit(default=50, most=200)


async def list_users(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with a page of the users that match, by id."""
    search = to_search(_SEARCH.of(request))
    after, limit = _AFTER.of(request), _LIMIT.of(request)
    online = _ONLINE.of(request) == "1"
    async with request.app[DATABASE].read() as connection:
        if online:
            found = await _online(request, connection, search, after, limit + 1)
        else:
            found = await page_of_users(connection, search, after=after, limit=limit + 1)
        page = found[:limit]
        devices = await device_counts(connection, [user.id for user in page])
    return json_response(
        {
            "users": [_view(request, user, devices.get(user.id, 0)) for user in page],
            "more": len(found) > limit,
        }
    )


async def add_user(request: web.Request, admin: Admin) -> web.Response:
    """Answer 201 with the user, and with the password if the server made it."""
    body = await read_as_admin(request, NewUserBody)
    password, shown = _password(request, body.password)
    roles = (ADMIN,) if body.admin else ()
    user = await request.app[ACCOUNTS].add_user(body.user_handle, password, roles)
    note(request, admin, user=user.id, handle=user.name)
    return json_response({**_view(request, user, 0), **shown}, status=201)


async def change_user(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with the user as they are now; a disabled user is off within a second."""
    body = await read_as_admin(request, UserChangeBody)
    user_id = _USER_ID.of(request)
    if body.disabled or body.admin is False:
        _refuse_oneself(admin, user_id)
    user, ended = await request.app[ACCOUNTS].change_user(
        user_id, disabled=body.disabled, admin=body.admin, by=admin.user_id
    )
    request.app[NODE].end(ended)
    note(
        request,
        admin,
        user=user_id,
        handle=user.name,
        disabled=body.disabled,
        admin_role=body.admin,
    )
    async with request.app[DATABASE].lookup() as connection:
        devices = await device_counts(connection, [user_id])
    return json_response(_view(request, user, devices.get(user_id, 0)))


async def set_password(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200, with the password if the server made it; every session of the user is over."""
    body = await read_as_admin(request, NewPasswordBody)
    user_id = _USER_ID.of(request)
    password, shown = _password(request, body.new_password)
    handle = request.app[MANAGER].handle_of(user_id)
    ended = await request.app[ACCOUNTS].set_password(user_id, password)
    request.app[NODE].end(ended)
    note(request, admin, user=user_id, handle=handle)
    return json_response(shown)


async def delete_user(request: web.Request, admin: Admin) -> web.Response:
    """Answer 204 when user, devices and sessions are gone."""
    user_id = _USER_ID.of(request)
    _refuse_oneself(admin, user_id)
    handle = request.app[MANAGER].handle_of(user_id)
    request.app[NODE].end(await request.app[ACCOUNTS].delete_user(user_id))
    note(request, admin, user=user_id, handle=handle)
    return web.Response(status=204)


async def _online(
    request: web.Request, connection: AsyncConnection, search: Search | None, after: int, limit: int
) -> list[User]:
    """Return the first users above `after` that match and are connected now."""
    ids = sorted(one for one in request.app[MANAGER].get_connected_users() if one > after)
    found: list[User] = []
    for start in range(0, len(ids), STEP):
        some = ids[start : start + STEP]
        wanted = limit - len(found)
        found += await page_of_users(connection, search, after=after, limit=wanted, among=some)
        if len(found) == limit:
            break
    return found


def _refuse_oneself(admin: Admin, user_id: int) -> None:
    """Raise Problem 409 `own_account`: administrators who lock themselves out may be the last."""
    if admin.user_id == user_id:
        raise Problem(409, "own_account", "Nobody disables, demotes or deletes themselves.")


def _password(request: web.Request, given: str | None) -> tuple[str, dict[str, str]]:
    """Return the password, made if none is given, and the fields that show it if it was made."""
    if given is not None:
        return given, {}
    made = make_password(request.app[SETTINGS].password_min_length)
    return made, {"password": made}


def _view(request: web.Request, user: User, devices: int) -> dict[str, Any]:
    return {
        "id": user.id,
        **present(user_handle=user.handle, iss=user.iss, sub=user.sub),
        "permissions": list(user.roles),
        "disabled": not user.active,
        "created_at": user.created_at,
        "devices": devices,
        "connections": sum(request.app[MANAGER].counts(user.id).values()),
    }


_INVALID_PASSWORD: Final = ("400 password_too_short", "400 password_too_long", "503 busy")

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/admin/users",
        handler=ADMINISTRATOR.before(list_users),
        tag="Administration",
        summary="List and search users",
        parameters=(_SEARCH, _ONLINE, _AFTER, _LIMIT),
        answer=AdminUserPageAnswer,
        problems=("400 invalid_parameter",),
    ),
    Route(
        method="POST",
        path="/v1/admin/users",
        handler=ADMINISTRATOR.before(add_user),
        tag="Administration",
        summary="Add a user",
        body=NewUserBody,
        status=201,
        answer=NewUserAnswer,
        problems=(*_INVALID_PASSWORD, "400 invalid_handle", "409 handle_taken"),
    ),
    Route(
        method="PATCH",
        path="/v1/admin/users/{id}",
        handler=ADMINISTRATOR.before(change_user),
        tag="Administration",
        summary="Disable, enable, promote or demote a user",
        what="Who is disabled is signed out everywhere within a second.",
        parameters=(_USER_ID,),
        body=UserChangeBody,
        answer=AdminUserAnswer,
        problems=("404 user_not_found", "409 own_account"),
    ),
    Route(
        method="DELETE",
        path="/v1/admin/users/{id}",
        handler=ADMINISTRATOR.before(delete_user),
        tag="Administration",
        summary="Delete a user",
        what="Devices, sessions and kept messages go too. The handle is free again.",
        parameters=(_USER_ID,),
        status=204,
        problems=("404 user_not_found", "409 own_account"),
    ),
    Route(
        method="POST",
        path="/v1/admin/users/{id}/password",
        handler=ADMINISTRATOR.before(set_password),
        tag="Administration",
        summary="Set a user's password",
        what="Every session of the user is over.",
        parameters=(_USER_ID,),
        body=NewPasswordBody,
        answer=MadePasswordAnswer,
        problems=(*_INVALID_PASSWORD, "400 no_password", "404 user_not_found"),
    ),
)
