"""The routes of administrators, as they are documented."""

from typing import Any, Final

from app.storage.schema import MAX_ID
from app.web import paths
from app.web.admin import answers as admin_answers
from app.web.admin.bodies import NewPasswordBody, NewUserBody, OneMessageBody, UserChangeBody
from app.web.admin.connections import DEFAULT_CONNECTIONS, MAX_CONNECTIONS, MAX_START
from app.web.admin.page import SORTS
from app.web.admin.users import DEFAULT_USERS, MAX_SEARCH, MAX_USERS
from app.web.endpoint import ID, KEY, USER_ID, WRITE, Endpoint, Parameter

_TAG: Final = "Administration"
_READ: Final = (*KEY, "400 invalid_parameter")
_CHANGE: Final = (*KEY, *WRITE)

_PASSWORD: Final = ("400 password_too_short", "400 password_too_long", "503 busy")
_CONNECTION_ID: Final = Parameter(
    name="id", place="path", what="The connection's `connection_id`.", schema={"type": "string"}
)


def _query(name: str, what: str, **schema: Any) -> Parameter:
    return Parameter(name=name, place="query", what=what, schema=schema)


def _limit(default: int, most: int) -> Parameter:
    what = "How many of one page, at most."
    return _query("limit", what, type="integer", minimum=1, maximum=most, default=default)


_USERS: Final = (
    _query("search", "A part of a handle, or of a `sub`.", type="string", maxLength=MAX_SEARCH),
    _query("online", "`1`: only who is connected now.", enum=["0", "1"], default="0"),
    _query(
        "after",
        "The id after which the page begins.",
        type="integer",
        minimum=0,
        maximum=MAX_ID,
        default=0,
    ),
    _limit(DEFAULT_USERS, MAX_USERS),
)

_CONNECTIONS: Final = (
    _query(
        "search",
        "A part of the user's handle or `sub`, of the device's name, of the instance, the address "
        "or the `connection_id`.",
        type="string",
        maxLength=MAX_SEARCH,
    ),
    _query("user", "The id of a user.", **ID),
    _query("sort", "By what the page is sorted.", enum=list(SORTS), default=SORTS[0]),
    _query("order", "Which end comes first.", enum=["asc", "desc"], default="asc"),
    _query(
        "offset",
        "How many are left out before the page.",
        type="integer",
        minimum=0,
        maximum=MAX_START,
        default=0,
    ),
    _limit(DEFAULT_CONNECTIONS, MAX_CONNECTIONS),
)

_OF_USERS: Final = (
    Endpoint(
        method="GET",
        path=paths.ADMIN_OVERVIEW,
        tag=_TAG,
        summary="The server at a glance",
        credential="admin",
        answer=admin_answers.OverviewAnswer,
        problems=KEY,
    ),
    Endpoint(
        method="GET",
        path=paths.ADMIN_USERS,
        tag=_TAG,
        summary="List and search users",
        credential="admin",
        parameters=_USERS,
        answer=admin_answers.AdminUserPageAnswer,
        problems=_READ,
    ),
    Endpoint(
        method="POST",
        path=paths.ADMIN_USERS,
        tag=_TAG,
        summary="Add a user",
        credential="admin",
        body=NewUserBody,
        status=201,
        answer=admin_answers.NewUserAnswer,
        problems=(*_CHANGE, *_PASSWORD, "400 invalid_handle", "409 handle_taken"),
    ),
    Endpoint(
        method="PATCH",
        path=paths.ADMIN_USER,
        tag=_TAG,
        summary="Disable, enable, promote or demote a user",
        what="Who is disabled is signed out everywhere within a second.",
        credential="admin",
        parameters=(USER_ID,),
        body=UserChangeBody,
        answer=admin_answers.AdminUserAnswer,
        problems=(*_CHANGE, "404 user_not_found", "409 own_account"),
    ),
    Endpoint(
        method="POST",
        path=paths.ADMIN_USER_CHANGE,
        tag=_TAG,
        summary="Set a user's password",
        what="Every session of the user is over.",
        credential="admin",
        parameters=(USER_ID,),
        body=NewPasswordBody,
        answer=admin_answers.MadePasswordAnswer,
        problems=(*_CHANGE, *_PASSWORD, "400 no_password", "404 user_not_found"),
    ),
    Endpoint(
        method="DELETE",
        path=paths.ADMIN_USER,
        tag=_TAG,
        summary="Delete a user",
        what="Devices, sessions and kept messages go too. The handle is free again.",
        credential="admin",
        parameters=(USER_ID,),
        status=204,
        problems=(*_CHANGE, "404 user_not_found", "409 own_account"),
    ),
)

_OF_CONNECTIONS: Final = (
    Endpoint(
        method="GET",
        path=paths.ADMIN_CONNECTIONS,
        tag=_TAG,
        summary="List and search live connections",
        credential="admin",
        parameters=_CONNECTIONS,
        answer=admin_answers.AdminConnectionPageAnswer,
        problems=_READ,
    ),
    Endpoint(
        method="DELETE",
        path=paths.ADMIN_CONNECTION,
        tag=_TAG,
        summary="Close a connection",
        what="With 4004 `closed_by_operator`; its client may come back.",
        credential="admin",
        parameters=(_CONNECTION_ID,),
        status=204,
        problems=(*_CHANGE, "404 connection_not_found"),
    ),
    Endpoint(
        method="POST",
        path=paths.ADMIN_CONNECTION_MESSAGES,
        tag=_TAG,
        summary="Send a message to a connection",
        what="To this one alone, and it is not kept.",
        credential="admin",
        parameters=(_CONNECTION_ID,),
        body=OneMessageBody,
        answer=admin_answers.TakenAnswer,
        problems=(*_CHANGE, "400 invalid_message", "404 connection_not_found"),
    ),
)

ADMIN: Final[tuple[Endpoint, ...]] = (*_OF_USERS, *_OF_CONNECTIONS)
