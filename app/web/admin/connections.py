"""Live connections, for administrators: searched and sorted, closed, sent a test message."""

from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from app.auth.devices import UNKNOWN_TYPE
from app.keys import DATABASE, MANAGER, NODE, PUBLISHER, SETTINGS
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.close import CLOSED_BY_OPERATOR
from app.protocol.selector import Selector
from app.publishing.publisher import connection_not_found
from app.requests.identity import authorize_admin
from app.storage.database import Database
from app.storage.directory import (
    DeviceName,
    UserName,
    device_names,
    matching_devices,
    matching_users,
    user_names,
)
from app.web.admin.access import note, read_as_admin
from app.web.admin.bodies import OneMessageBody
from app.web.admin.page import SORTS, Wanted, lag_of, page_of
from app.web.admin.users import search_of
from app.web.answers import json_response
from app.web.bodies import message_limit
from app.web.parameters import choice, query_id, whole_number

DEFAULT_CONNECTIONS: Final = 50
MAX_CONNECTIONS: Final = 200
MAX_START: Final = 1_000_000
"""More connections than a node can have."""

MAX_NAMES: Final = 10_000
"""Users, and devices, whose names match a search, at most: they are held in memory for it."""


async def list_connections(request: web.Request) -> web.Response:
    """200 with a page of the connections that match."""
    await authorize_admin(request)
    node = request.app[NODE]
    page = await page_of(node, await _wanted(request))
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


async def close_connection(request: web.Request) -> web.Response:
    """204; the connection is told to close, and that it may come back."""
    admin = await authorize_admin(request)
    connection = _connection(request)
    selector = Selector(connection_id=connection.connection_id)
    request.app[NODE].disconnect(selector, CLOSED_BY_OPERATOR)
    note(request, admin, user=connection.user_id, connection=connection.connection_id)
    return web.Response(status=204)


async def send_message(request: web.Request) -> web.Response:
    """200 with whether the connection took the message, which no other one gets."""
    limit = message_limit(request.app[SETTINGS].max_message_bytes)
    admin, body = await read_as_admin(request, OneMessageBody, limit)
    connection_id = request.match_info["id"]
    taken = request.app[PUBLISHER].send_to_connection(connection_id, body.type, body.payload)
    note(request, admin, user=_connection(request).user_id, connection=connection_id)
    return json_response({"taken": taken})


def _connection(request: web.Request) -> Connection:
    """Return the connection of the path; raises Problem 404 `connection_not_found`."""
    selector = Selector(connection_id=request.match_info["id"])
    for connection in request.app[MANAGER].connections(selector):
        return connection
    raise connection_not_found()


async def _wanted(request: web.Request) -> Wanted:
    """Return what the query asks for; raises Problem 400 `invalid_parameter`."""
    search = search_of(request)
    wanted = Wanted(
        search=search,
        user_id=query_id(request, "user"),
        sort=choice(request, "sort", SORTS),
        descending=choice(request, "order", ("asc", "desc")) == "desc",
        offset=whole_number(request, "offset", 0, 0, MAX_START),
        limit=whole_number(request, "limit", DEFAULT_CONNECTIONS, 1, MAX_CONNECTIONS),
    )
    if search is None:
        return wanted
    async with request.app[DATABASE].read() as connection:
        users = await matching_users(connection, search, MAX_NAMES)
        devices = await matching_devices(connection, search, MAX_NAMES)
    return replace(wanted, users=frozenset(users), devices=frozenset(devices))


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
    optional = {
        "user_handle": user and user.handle,
        "sub": user and user.sub,
        "device_name": device and device.device_name,
    }
    return {
        "connection_id": connection.connection_id,
        "user_id": connection.user_id,
        "device_id": connection.device_id,
        **{name: value for name, value in optional.items() if value is not None},
        "device_type": device.device_type if device is not None else UNKNOWN_TYPE,
        "instance": connection.instance,
        "address": connection.address,
        "positioned": connection.positioned,
        "behind": connection.place.behind,
        "queue_frames": connection.backlog,
        "queue_bytes": connection.backlog_bytes,
        "lag": lag_of(node, connection),
        "connected_at": int(connection.connected_at * 1000),
        "heard_seconds": max(0, int(node.clock() - connection.inflow.heard_at)),
        "frames_in": connection.inflow.frames,
        "frames_out": connection.frames_out,
        "dropped": connection.dropped,
    }
