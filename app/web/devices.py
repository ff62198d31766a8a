"""The user's devices: which there are, which are online, renaming and revoking them."""

from collections import defaultdict
from typing import Any, Final

from aiohttp import web

from app.auth.tokens import Identity
from app.base.errors import Problem
from app.keys import ACCOUNTS, MANAGER, NODE
from app.node.connection import Connection
from app.protocol.close import Selector
from app.requests.cookies import forget
from app.requests.route import Route
from app.requests.rules import SESSION, WRITING_SESSION
from app.storage.devices import Device
from app.storage.schema import milliseconds
from app.web.bodies import Absent, Answer, Body, Cut, json_response, present, read_body
from app.web.parameters import PathId


class RenameBody(Body):
    """PATCH /v1/devices/{id}; null takes the name away."""

    device_name: Cut


class ConnectionAnswer(Answer):
    """A live WebSocket."""

    connection_id: str
    instance: str
    connected_at: int


class DeviceAnswer(Answer):
    """A device as its user sees it."""

    id: int
    device_uuid: str
    device_type: str
    device_name: str | Absent = None
    os_info: str | Absent = None
    created_at: int
    last_seen: int
    online: bool
    connections: list[ConnectionAnswer]
    this_device: bool


class DeviceListAnswer(Answer):
    """The user's devices."""

    devices: list[DeviceAnswer]


class RevokedAnswer(Answer):
    """The devices that were revoked."""

    revoked: list[int]


def _device_not_found() -> Problem:
    return Problem(404, "device_not_found", "There is no such device.")


_DEVICE_ID: Final = PathId(what="The device's id.", missing=_device_not_found)


async def list_devices(request: web.Request, identity: Identity) -> web.Response:
    """Answer 200 with the user's devices and the connections of each."""
    devices = await request.app[ACCOUNTS].list_devices(identity.user_id)
    online = _connections(request, identity.user_id)
    return json_response(
        {"devices": [_device(device, online[device.id], identity) for device in devices]}
    )


async def rename_device(request: web.Request, identity: Identity) -> web.Response:
    """Answer 200 with the device under its new name."""
    body = await read_body(request, RenameBody)
    device = await request.app[ACCOUNTS].rename_device(
        identity.user_id, _DEVICE_ID.of(request), body.device_name
    )
    online = _connections(request, identity.user_id)
    return json_response(_device(device, online[device.id], identity))


async def revoke_device(request: web.Request, identity: Identity) -> web.Response:
    """Answer 204 when the device is revoked: its sessions are over, and its sockets close."""
    device_id = _DEVICE_ID.of(request)
    ended = await request.app[ACCOUNTS].revoke_device(device_id, identity.user_id)
    request.app[NODE].end(ended)
    if device_id == identity.device_id:
        await forget(request)
    return web.Response(status=204)


async def revoke_others(request: web.Request, identity: Identity) -> web.Response:
    """Answer 200 with the ids of the user's other devices, which need to sign in again."""
    revoked, ended = await request.app[ACCOUNTS].revoke_other_devices(identity)
    request.app[NODE].end(ended)
    return json_response({"revoked": revoked})


def _connections(request: web.Request, user_id: int) -> defaultdict[int, list[Connection]]:
    by_device: defaultdict[int, list[Connection]] = defaultdict(list)
    for connection in request.app[MANAGER].connections(Selector(user_id=user_id)):
        by_device[connection.device_id].append(connection)
    return by_device


def _device(device: Device, connections: list[Connection], identity: Identity) -> dict[str, Any]:
    return {
        "id": device.id,
        "device_uuid": device.device_uuid,
        "device_type": device.device_type,
        **present(device_name=device.device_name, os_info=device.os_info),
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
        "connected_at": milliseconds(connection.connected_at),
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/devices",
        handler=SESSION.before(list_devices),
        tag="Devices",
        summary="List my devices",
        answer=DeviceListAnswer,
    ),
    Route(
        method="PATCH",
        path="/v1/devices/{id}",
        handler=WRITING_SESSION.before(rename_device),
        tag="Devices",
        summary="Rename a device",
        parameters=(_DEVICE_ID,),
        body=RenameBody,
        answer=DeviceAnswer,
        problems=("404 device_not_found",),
    ),
    Route(
        method="DELETE",
        path="/v1/devices/{id}",
        handler=WRITING_SESSION.before(revoke_device),
        tag="Devices",
        summary="Revoke a device",
        what="Its sessions are over, and its sockets close.",
        parameters=(_DEVICE_ID,),
        status=204,
        problems=("404 device_not_found",),
    ),
    Route(
        method="POST",
        path="/v1/devices/revoke-others",
        handler=WRITING_SESSION.before(revoke_others),
        tag="Devices",
        summary="Revoke all my other devices",
        what="Their sessions are over, and their sockets close.",
        answer=RevokedAnswer,
    ),
)
