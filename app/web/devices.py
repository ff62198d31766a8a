"""The user's devices: which there are, which are online, renaming and revoking them."""

from collections import defaultdict
from typing import Any

from aiohttp import web

from app.auth.identity import Identity
from app.base.errors import Problem
from app.keys import ACCOUNTS, MANAGER, NODE
from app.node.connection import Connection
from app.protocol.selector import Selector
from app.requests.cookies import forget
from app.requests.identity import authenticate
from app.storage.devices import Device
from app.web.answers import json_response
from app.web.bodies import RenameBody, read_body
from app.web.parameters import path_id


async def list_devices(request: web.Request) -> web.Response:
    """200 with the user's devices and the connections of each."""
    identity = await authenticate(request)
    devices = await request.app[ACCOUNTS].list_devices(identity.user_id)
    online = _connections(request, identity.user_id)
    return json_response(
        {"devices": [_device(device, online[device.id], identity) for device in devices]}
    )


async def rename_device(request: web.Request) -> web.Response:
    """200 with the device as it is now called."""
    identity = await authenticate(request)
    body = await read_body(request, RenameBody)
    device = await request.app[ACCOUNTS].rename_device(
        identity.user_id, _device_id(request), body.device_name
    )
    online = _connections(request, identity.user_id)
    return json_response(_device(device, online[device.id], identity))


async def revoke_device(request: web.Request) -> web.Response:
    """204; the device's sessions are over, its sockets close, and it needs to sign in again."""
    identity = await authenticate(request)
    device_id = _device_id(request)
    ended = await request.app[ACCOUNTS].revoke_device(device_id, identity.user_id)
    request.app[NODE].end(ended)
    if device_id == identity.device_id:
        await forget(request)
    return web.Response(status=204)


async def revoke_others(request: web.Request) -> web.Response:
    """200 with the ids of the user's other devices, which need to sign in again."""
    identity = await authenticate(request)
    revoked, ended = await request.app[ACCOUNTS].revoke_other_devices(identity)
    request.app[NODE].end(ended)
    return json_response({"revoked": revoked})


def _device_id(request: web.Request) -> int:
    return path_id(request, Problem(404, "device_not_found", "There is no such device."))


def _connections(request: web.Request, user_id: int) -> defaultdict[int, list[Connection]]:
    by_device: defaultdict[int, list[Connection]] = defaultdict(list)
    for connection in request.app[MANAGER].connections(Selector(user_id=user_id)):
        by_device[connection.device_id].append(connection)
    return by_device


def _device(device: Device, connections: list[Connection], identity: Identity) -> dict[str, Any]:
    optional = {
        "device_name": device.device_name,
        "os_info": device.os_info,
    }
    return {
        "id": device.id,
        "device_uuid": device.device_uuid,
        "device_type": device.device_type,
        **{name: value for name, value in optional.items() if value is not None},
        "created_at": device.created_at,
        "last_seen": device.last_seen,
        "online": bool(connections),
        "connections": [_connection(connection) for connection in connections],
        "this_device": device.id == identity.device_id,
    }


def _connection(connection: Connection) -> dict[str, Any]:
    return {
        "connection_id": connection.connection_id,
        "instance": connection.instance,
        # Milliseconds, as everywhere in our JSON.
        "connected_at": int(connection.connected_at * 1000),
    }
