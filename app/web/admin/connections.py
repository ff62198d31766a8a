"""Live connections, for administrators: searched and sorted, closed, sent a test message."""

from dataclasses import replace
from typing import Any, Final

from aiohttp import web
from pydantic import Field

from app.auth.names import UNKNOWN_TYPE
from app.keys import DATABASE, MANAGER, NODE, PUBLISHER
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.close import CLOSED_BY_OPERATOR, Selector
from app.protocol.messages import MAX_TYPE_LENGTH
from app.publishing.publisher import connection_not_found
from app.requests.identity import Admin
from app.requests.route import Route
from app.requests.rules import ADMINISTRATOR
from app.storage.database import Database
from app.storage.directory import (
    DeviceName,
    UserName,
    device_names,
    matching_devices,
    matching_users,
    user_names,
)
from app.storage.schema import milliseconds
from app.web.admin.access import note, page_limit, read_as_admin, search_for, to_search
from app.web.admin.page import SORTS, PageQuery, page_of
from app.web.bodies import Absent, Answer, Body, json_response, message_limit, present
from app.web.parameters import Choice, Described, QueryId, WholeNumber

TEST_TYPE: Final = "test.message"

MAX_START: Final = 1_000_000
"""More connections than a node can have."""

MAX_NAMES: Final = 10_000
"""Users, and devices, whose names match a search, at most: they are held in memory for it."""


class OneMessageBody(Body):
    """POST /v1/admin/connections/{id}/messages."""

    type: str = Field(TEST_TYPE, json_schema_extra={"maxLength": MAX_TYPE_LENGTH})
    payload: Any = Field(None, description="Any JSON; null if it is left out.")


class AdminConnectionAnswer(Answer):
    """A live WebSocket as an administrator sees one."""

    connection_id: str
    user_id: int
    user_handle: str | Absent = None
    sub: str | Absent = Field(None, description="Of a user from outside.")
    device_id: int
    device_name: str | Absent = None
    device_type: str
    instance: str
    address: str
    positioned: bool
    behind: bool = Field(description="Whether it reads what it missed.")
    tailed: bool = Field(description="Whether an operator follows what goes in and out of it.")
    queue_frames: int = Field(description="Frames that wait in its outbox.")
    queue_bytes: int
    lag: int = Field(description="Offsets from its position to the head of its user's stream.")
    connected_at: int
    heard_seconds: int = Field(description="Seconds since it was last heard from.")
    frames_in: int
    frames_out: int
    dropped: int = Field(description="Frames that it could not take.")


class AdminConnectionPageAnswer(Answer):
    """A page of connections; `total` counts all that match."""

    total: int
    connections: list[AdminConnectionAnswer]


class TakenAnswer(Answer):
    """Whether the connection took the message."""

    taken: bool


_CONNECTION_ID: Final = Described(
    name="id", place="path", what="The connection's `connection_id`.", schema={"type": "string"}
)
_SEARCH: Final = search_for(
    "A part of the user's handle or `sub`, of the device's name, of the instance, the address or "
    "the `connection_id`."
)
_USER: Final = QueryId(name="user", what="The id of a user.")
_SORT: Final = Choice(name="sort", what="By what the page is sorted.", choices=SORTS)
_ORDER: Final = Choice(name="order", what="Which end comes first.", choices=("asc", "desc"))
_OFFSET: Final = WholeNumber(
    name="offset",
    what="How many are left out before the page.",
    least=0,
    most=MAX_START,
    default=0,
)
_LIMIT: Final = page_limit(default=50, most=200)


async def list_connections(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with a page of the connections that match."""
    node = request.app[NODE]
    page = await page_of(node, await _query(request))
    users, devices = await _names(request.app[DATABASE], page.connections)
    return json_response(
        {
            "total": page.total,
            "connections": [
                _view(node, one, users.get(one.user_id), devices.get(one.device_id))
                for one in page.connections
            ],
        }
    )


async def close_connection(request: web.Request, admin: Admin) -> web.Response:
    """Answer 204 after telling the connection to close, and that it may come back."""
    connection = _connection(request)
    selector = Selector(connection_id=connection.connection_id)
    request.app[NODE].disconnect(selector, CLOSED_BY_OPERATOR)
    note(
        request,
        admin,
        user=connection.user_id,
        handle=connection.handle,
        connection=connection.connection_id,
    )
    return web.Response(status=204)


async def send_message(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with whether the connection took the message, which no other one gets."""
    body = await read_as_admin(request, OneMessageBody)
    connection_id = request.match_info["id"]
    taken = request.app[PUBLISHER].send_to_connection(connection_id, body.type, body.payload)
    connection = _connection(request)
    note(
        request,
        admin,
        user=connection.user_id,
        handle=connection.handle,
        connection=connection_id,
    )
    return json_response({"taken": taken})


def _connection(request: web.Request) -> Connection:
    """Return the connection of the path; raises Problem 404 `connection_not_found`."""
    selector = Selector(connection_id=request.match_info["id"])
    for connection in request.app[MANAGER].connections(selector):
        return connection
    raise connection_not_found()


async def _query(request: web.Request) -> PageQuery:
    """Return what the request asks for; raises Problem 400 `invalid_parameter`."""
    search = to_search(_SEARCH.of(request))
    query = PageQuery(
        search=search,
        user_id=_USER.of(request),
        sort=_SORT.of(request),
        descending=_ORDER.of(request) == "desc",
        offset=_OFFSET.of(request),
        limit=_LIMIT.of(request),
    )
    if search is None:
        return query
    async with request.app[DATABASE].read() as connection:
        users = await matching_users(connection, search, MAX_NAMES)
        devices = await matching_devices(connection, search, MAX_NAMES)
    return replace(query, users=frozenset(users), devices=frozenset(devices))


async def _names(
    database: Database, connections: list[Connection]
) -> tuple[dict[int, UserName], dict[int, DeviceName]]:
    async with database.read() as connection:
        users = await user_names(connection, {one.user_id for one in connections})
        devices = await device_names(connection, {one.device_id for one in connections})
    return users, devices


def _view(
    node: Node, connection: Connection, user: UserName | None, device: DeviceName | None
) -> dict[str, Any]:
    return {
        "connection_id": connection.connection_id,
        "user_id": connection.user_id,
        "device_id": connection.device_id,
        **present(
            user_handle=user and user.handle,
            sub=user and user.sub,
            device_name=device and device.device_name,
        ),
        "device_type": device.device_type if device is not None else UNKNOWN_TYPE,
        "instance": connection.instance,
        "address": connection.address,
        "positioned": connection.positioned,
        "behind": connection.place.behind,
        "tailed": connection.tailed,
        "queue_frames": connection.backlog,
        "queue_bytes": connection.backlog_bytes,
        "lag": node.delivery.lag_of(connection),
        "connected_at": milliseconds(connection.connected_at),
        "heard_seconds": max(0, int(node.clock() - connection.inflow.heard_at)),
        "frames_in": connection.inflow.frames,
        "frames_out": connection.frames_out,
        "dropped": connection.dropped,
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/admin/connections",
        handler=ADMINISTRATOR.before(list_connections),
        tag="Administration",
        summary="List and search live connections",
        parameters=(_SEARCH, _USER, _SORT, _ORDER, _OFFSET, _LIMIT),
        answer=AdminConnectionPageAnswer,
        problems=("400 invalid_parameter",),
    ),
    Route(
        method="DELETE",
        path="/v1/admin/connections/{id}",
        handler=ADMINISTRATOR.before(close_connection),
        tag="Administration",
        summary="Close a connection",
        what="With 4004 `closed_by_operator`; its client may come back.",
        parameters=(_CONNECTION_ID,),
        status=204,
        problems=("404 connection_not_found",),
    ),
    Route(
        method="POST",
        path="/v1/admin/connections/{id}/messages",
        handler=ADMINISTRATOR.before(send_message),
        body_limit=message_limit,
        tag="Administration",
        summary="Send a message to a connection",
        what="To this one alone, and it is not kept.",
        parameters=(_CONNECTION_ID,),
        body=OneMessageBody,
        answer=TakenAnswer,
        problems=("400 invalid_message", "404 connection_not_found"),
    ),
)
