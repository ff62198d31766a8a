"""Users, for administrators: searched, added, disabled, given a password, deleted."""

from typing import Any, Final

from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.handles import handle_key
from app.auth.passwords import make_password
from app.auth.writes import user_not_found
from app.base.errors import Problem
from app.keys import ACCOUNTS, DATABASE, MANAGER, NODE, SETTINGS
from app.requests.identity import Admin, authorize_admin
from app.storage.directory import Search, device_counts, page_of_users
from app.storage.schema import MAX_ID
from app.storage.users import ADMIN, User
from app.web.admin.access import note, read_as_admin
from app.web.admin.bodies import NewPasswordBody, NewUserBody, UserChangeBody
from app.web.answers import json_response
from app.web.bodies import MAX_BODY_BYTES
from app.web.parameters import choice, path_id, short_text, whole_number

MAX_SEARCH: Final = 64
DEFAULT_USERS: Final = 50
MAX_USERS: Final = 200

# Ids of one select, far below SQLite's 32,766 variables of a statement.
_STEP: Final = 500


async def list_users(request: web.Request) -> web.Response:
    """200 with a page of the users that match, by id."""
    await authorize_admin(request)
    search = search_of(request)
    after = whole_number(request, "after", 0, 0, MAX_ID)
    limit = whole_number(request, "limit", DEFAULT_USERS, 1, MAX_USERS)
    online = choice(request, "online", ("0", "1")) == "1"
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


async def add_user(request: web.Request) -> web.Response:
    """201 with the user, and with the password if the server made it."""
    admin, body = await read_as_admin(request, NewUserBody, MAX_BODY_BYTES)
    password, shown = _password(request, body.password)
    roles = (ADMIN,) if body.admin else ()
    user = await request.app[ACCOUNTS].add_user(body.user_handle, password, roles)
    note(request, admin, user=user.id)
    return json_response({**_view(request, user, 0), **shown}, status=201)


async def change_user(request: web.Request) -> web.Response:
    """200 with the user as they are now; who is disabled is off within a second."""
    admin, body = await read_as_admin(request, UserChangeBody, MAX_BODY_BYTES)
    user_id = _user_id(request)
    if body.disabled or body.admin is False:
        _refuse_oneself(admin, user_id)
    user, ended = await request.app[ACCOUNTS].change_user(
        user_id, disabled=body.disabled, admin=body.admin, by=admin.user_id
    )
    request.app[NODE].end(ended)
    note(request, admin, user=user_id, disabled=body.disabled, admin=body.admin)
    async with request.app[DATABASE].lookup() as connection:
        devices = await device_counts(connection, [user_id])
    return json_response(_view(request, user, devices.get(user_id, 0)))


async def set_password(request: web.Request) -> web.Response:
    """200, with the password if the server made it; every session of the user is over."""
    admin, body = await read_as_admin(request, NewPasswordBody, MAX_BODY_BYTES)
    user_id = _user_id(request)
    password, shown = _password(request, body.new_password)
    ended = await request.app[ACCOUNTS].set_password(user_id, password)
    request.app[NODE].end(ended)
    note(request, admin, user=user_id)
    return json_response(shown)


async def delete_user(request: web.Request) -> web.Response:
    """204; user, devices and sessions are gone."""
    admin = await authorize_admin(request)
    user_id = _user_id(request)
    _refuse_oneself(admin, user_id)
    request.app[NODE].end(await request.app[ACCOUNTS].delete_user(user_id))
    note(request, admin, user=user_id)
    return web.Response(status=204)


def search_of(request: web.Request) -> Search | None:
    """Return what is searched for; None if nothing is.

    Raises Problem 400 `invalid_parameter`.
    """
    text = short_text(request, "search", MAX_SEARCH)
    return Search(text, handle_key(text)) if text else None


async def _online(
    request: web.Request, connection: AsyncConnection, search: Search | None, after: int, limit: int
) -> list[User]:
    """Return the first users above `after` that match and are connected now."""
    ids = sorted(one for one in request.app[MANAGER].get_connected_users() if one > after)
    found: list[User] = []
    for start in range(0, len(ids), _STEP):
        some = ids[start : start + _STEP]
        wanted = limit - len(found)
        found += await page_of_users(connection, search, after=after, limit=wanted, among=some)
        if len(found) == limit:
            break
    return found


def _user_id(request: web.Request) -> int:
    return path_id(request, user_not_found())


def _refuse_oneself(admin: Admin, user_id: int) -> None:
    """Raises Problem 409 `own_account`: whoever locks themselves out may be the last one."""
    if admin.user_id == user_id:
        raise Problem(409, "own_account", "Nobody disables, demotes or deletes themselves.")


def _password(request: web.Request, given: str | None) -> tuple[str, dict[str, str]]:
    """Return the password, made if none is given, and what the answer shows of it."""
    if given is not None:
        return given, {}
    made = make_password(request.app[SETTINGS].password_min_length)
    return made, {"password": made}


def _view(request: web.Request, user: User, devices: int) -> dict[str, Any]:
    optional = {"user_handle": user.handle, "iss": user.iss, "sub": user.sub}
    return {
        "id": user.id,
        **{name: value for name, value in optional.items() if value is not None},
        "permissions": list(user.roles),
        "disabled": not user.active,
        "created_at": user.created_at,
        "devices": devices,
        "connections": sum(request.app[MANAGER].counts(user.id).values()),
    }
