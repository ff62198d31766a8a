"""Users, their streams and devices, for an application's backend and for those who debug it."""

from collections import defaultdict
from typing import Any, Final, Literal

import orjson
from aiohttp import web
from pydantic import Field

from app.base.errors import Problem
from app.keys import ACCOUNTS, DATABASE, MANAGER, NODE, RECEIPTS
from app.protocol.close import Selector
from app.protocol.position import MAX_OFFSET, Position
from app.requests.route import Route
from app.requests.rules import READING_KEY
from app.storage.api_keys import ApiKey
from app.storage.cursors import lag
from app.storage.devices import Device
from app.storage.schema import milliseconds
from app.storage.users import User
from app.streams.base import ANY, EVERYONE, ReadLimits, Row
from app.web.bodies import Absent, Answer, json_response, present
from app.web.parameters import ExactText, PathId, WholeNumber

MAX_LAG: Final = 10_000
"""The largest lag that is counted: counting further takes long and says no more."""

MAX_PAGE_BYTES: Final = 1024 * 1024
"""Bytes of payloads in one page; the first row comes whatever its size."""


MAX_NAME: Final = 1024
"""Characters; no handle and no subject of a JWT has as many."""


class UserAnswer(Answer):
    """A user as the application's backend sees one."""

    id: int
    user_handle: str | Absent = None
    iss: str | Absent = Field(None, description="Of a user from outside, as `sub`.")
    sub: str | Absent = None
    disabled: bool
    created_at: int


class RowTargetAnswer(Answer):
    """Who a kept message is for."""

    user: int | Absent = None
    device: int | Absent = None
    everyone: Literal[True] | Absent = None
    exclude_device: int | Absent = None
    exclude_instance: str | Absent = Field(
        None, description="Only this instance of `exclude_device` does not get it."
    )


class SourceAnswer(Answer):
    """The device that sent a message."""

    device_id: int
    instance: str


class RowAnswer(Answer):
    """A kept message."""

    offset: int
    type: str
    payload: Any
    to: RowTargetAnswer
    source: SourceAnswer | Absent = Field(None, alias="from")
    key: str | Absent = None
    deleted: Literal[True] | Absent = Field(None, description="It deletes the value of its key.")
    created_at: int
    expires_at: int | Absent = None


class StreamAnswer(Answer):
    """A page of a stream, oldest first. The next one begins after `through`."""

    epoch: str
    rows: list[RowAnswer]
    through: int
    more: bool


class CursorAnswer(Answer):
    """What a device has acknowledged."""

    epoch: str
    offset: int


class UserDeviceAnswer(Answer):
    """A device as the application's backend sees it."""

    id: int
    device_uuid: str
    device_type: str
    device_name: str | Absent = None
    online: bool
    instances: list[str] = Field(description="Of its connections now.")
    cursor: CursorAnswer | Absent = None
    lag: int | Absent = Field(
        None, description="Kept messages for it above its cursor; 10000 means that or more."
    )
    last_seen: int


class UserDevicesAnswer(Answer):
    """A user's devices."""

    devices: list[UserDeviceAnswer]


def _user_not_found() -> Problem:
    return Problem(404, "user_not_found", "There is no such user; a path names one by its id.")


_USER_ID: Final = PathId(what="The user's id.", missing=_user_not_found)
_HANDLE: Final = ExactText(name="handle", what="The user's handle.", most=MAX_NAME)
_ISS: Final = ExactText(
    name="iss", what="The issuer of the user's JWTs; with `sub`.", most=MAX_NAME
)
_SUB: Final = ExactText(name="sub", what="The subject of the user's JWTs.", most=MAX_NAME)
_AFTER: Final = WholeNumber(
    name="after",
    what="The offset after which the page begins.",
    least=0,
    most=MAX_OFFSET,
    default=0,
)
_LIMIT: Final = WholeNumber(
    name="limit", what="Messages of one page, at most.", least=1, most=1000, default=100
)


async def find_user(request: web.Request, key: ApiKey) -> web.Response:
    """Answer 200 with the one user of this handle, or of this issuer and subject."""
    accounts = request.app[ACCOUNTS]
    match _HANDLE.of(request), _ISS.of(request), _SUB.of(request):
        case str(handle), None, None:
            user = await accounts.find_user(handle)
        case None, str(iss), str(sub):
            user = await accounts.find_outsider(iss, sub)
        case _:
            raise Problem(400, "invalid_parameter", "Give handle, or iss and sub.")
    return json_response(_user(user))


async def read_stream(request: web.Request, key: ApiKey) -> web.Response:
    """Answer 200 with a page of what is kept for the user, oldest first."""
    after, rows = _AFTER.of(request), _LIMIT.of(request)
    user_id = await _user_id(request)
    streams = request.app[NODE].log
    page = await streams.read(user_id, after, ReadLimits(rows=rows, bytes=MAX_PAGE_BYTES))
    # A page that ends at its last row may have left something for the next one.
    ends_at_row = not page.rows or page.rows[-1].offset == page.through
    return json_response(
        {
            "epoch": streams.epoch,
            "rows": [_row(row) for row in page.rows],
            "through": page.through,
            "more": ends_at_row and page.through < streams.last,
        }
    )


async def list_user_devices(request: web.Request, key: ApiKey) -> web.Response:
    """Answer 200 with the user's devices: which are online, and how far behind each is."""
    user_id = await _user_id(request)
    devices = await request.app[ACCOUNTS].list_devices(user_id)
    cursors = await request.app[RECEIPTS].cursors(user_id)
    instances: defaultdict[int, list[str]] = defaultdict(list)
    for connection in request.app[MANAGER].connections(Selector(user_id=user_id)):
        instances[connection.device_id].append(connection.instance)
    lags = await _lags(request, user_id, cursors)
    return json_response(
        {
            "devices": [
                _device(device, instances[device.id], cursors.get(device.id), lags.get(device.id))
                for device in devices
            ]
        }
    )


async def _user_id(request: web.Request) -> int:
    """Return the id of the user in the path; raises Problem 404 `user_not_found`."""
    return (await request.app[ACCOUNTS].get_user(_USER_ID.of(request))).id


async def _lags(
    request: web.Request, user_id: int, cursors: dict[int, Position | None]
) -> dict[int, int]:
    """Return by device how much is kept above its cursor, for cursors of this epoch."""
    epoch = request.app[NODE].log.epoch
    now = milliseconds(request.app[NODE].calendar.trusted())
    lags = {}
    async with request.app[DATABASE].read() as connection:
        for device_id, cursor in cursors.items():
            if cursor is not None and cursor.epoch == epoch:
                lags[device_id] = await lag(
                    connection,
                    user_id=user_id,
                    device_id=device_id,
                    after=cursor.offset,
                    now=now,
                    most=MAX_LAG,
                )
    return lags


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        **present(user_handle=user.handle, iss=user.iss, sub=user.sub),
        "disabled": user.disabled_at is not None,
        "created_at": user.created_at,
    }


def _device(
    device: Device, instances: list[str], cursor: Position | None, behind: int | None
) -> dict[str, Any]:
    return {
        "id": device.id,
        "device_uuid": device.device_uuid,
        "device_type": device.device_type,
        "online": bool(instances),
        "instances": instances,
        **present(
            device_name=device.device_name,
            cursor=cursor and {"epoch": cursor.epoch, "offset": cursor.offset},
            lag=behind,
        ),
        "last_seen": device.last_seen,
    }


def _row(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "offset": row.offset,
        "type": row.type,
        # It is JSON text already.
        "payload": orjson.Fragment(row.payload),
        "to": _to(row),
    }
    if row.source_instance:
        shown["from"] = {"device_id": row.source_device, "instance": row.source_instance}
    return shown | present(
        key=row.key,
        deleted=True if row.deleted else None,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _to(row: Row) -> dict[str, Any]:
    if row.user_id == EVERYONE:
        return {"everyone": True}
    if row.target_device != ANY:
        return {"device": row.target_device}
    to: dict[str, Any] = {"user": row.user_id}
    if row.without_device != ANY:
        to["exclude_device"] = row.without_device
        if row.without_instance:
            to["exclude_instance"] = row.without_instance
    return to


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/users",
        handler=READING_KEY.before(find_user),
        tag="Backend",
        summary="Find a user",
        what="Needs the scope `read`. Give `handle`, or `iss` and `sub`. It makes no user.",
        parameters=(_HANDLE, _ISS, _SUB),
        answer=UserAnswer,
        problems=("400 invalid_parameter", "404 user_not_found"),
    ),
    Route(
        method="GET",
        path="/v1/users/{id}/stream",
        handler=READING_KEY.before(read_stream),
        tag="Backend",
        summary="Read a user's stream",
        what="Needs the scope `read`. What is kept for the user and for everyone, oldest first.",
        parameters=(_USER_ID, _AFTER, _LIMIT),
        answer=StreamAnswer,
        problems=("400 invalid_parameter", "404 user_not_found", "503 storage_unavailable"),
    ),
    Route(
        method="GET",
        path="/v1/users/{id}/devices",
        handler=READING_KEY.before(list_user_devices),
        tag="Backend",
        summary="List a user's devices",
        what="Needs the scope `read`.",
        parameters=(_USER_ID,),
        answer=UserDevicesAnswer,
        problems=("404 user_not_found",),
    ),
)
