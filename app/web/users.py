"""Streams and devices of a user, for an application's backend and those who debug it."""

import time
from collections import defaultdict
from typing import Any, Final

import orjson
from aiohttp import web

from app.base.errors import Problem
from app.keys import ACCOUNTS, DATABASE, MANAGER, NODE, RECEIPTS
from app.protocol.position import MAX_OFFSET, Position
from app.protocol.selector import Selector
from app.requests.identity import authorize
from app.storage.cursors import lag
from app.storage.devices import Device
from app.streams.base import ANY, EVERYONE, Row, Wanted
from app.web.answers import json_response
from app.web.parameters import path_id, whole_number

MAX_LAG: Final = 10_000
"""As far as is counted: to count further takes long, and says no more."""

DEFAULT_ROWS: Final = 100
MAX_ROWS: Final = 1000
MAX_PAGE_BYTES: Final = 1024 * 1024
"""Of payloads in one page; the first row comes whatever its size."""


async def read_stream(request: web.Request) -> web.Response:
    """200 with a page of what is kept for the user, oldest first."""
    await authorize(request, "read")
    after = whole_number(request, "after", 0, 0, MAX_OFFSET)
    rows = whole_number(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
    user_id = await _user_id(request)
    streams = request.app[NODE].log
    page = await streams.read(user_id, after, Wanted(rows, MAX_PAGE_BYTES))
    # A page that ends at its last row may have left something for the next one.
    ends_at_row = bool(page.rows) and page.rows[-1].offset == page.through
    return json_response(
        {
            "epoch": streams.epoch,
            "rows": [_row(row) for row in page.rows],
            "through": page.through,
            "more": ends_at_row and page.through < streams.last,
        }
    )


async def list_user_devices(request: web.Request) -> web.Response:
    """200 with the user's devices: who is online, and how far behind each is."""
    await authorize(request, "read")
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


def _unnamed() -> Problem:
    return Problem(404, "user_not_found", "There is no such user; a path names one by its id.")


async def _user_id(request: web.Request) -> int:
    user_id = path_id(request, _unnamed())
    return (await request.app[ACCOUNTS].get_user(user_id)).id


async def _lags(
    request: web.Request, user_id: int, cursors: dict[int, Position | None]
) -> dict[int, int]:
    """Return how much is kept above the cursor of each device that has one of this epoch."""
    epoch = request.app[NODE].log.epoch
    now = int(time.time() * 1000)
    lags = {}
    async with request.app[DATABASE].read() as connection:
        for device_id, cursor in cursors.items():
            if cursor is not None and cursor.epoch == epoch:
                lags[device_id] = await lag(
                    connection, user_id, device_id, cursor.offset, now, MAX_LAG
                )
    return lags


def _device(
    device: Device, instances: list[str], cursor: Position | None, behind: int | None
) -> dict[str, Any]:
    optional = {
        "device_name": device.device_name,
        "cursor": cursor and {"epoch": cursor.epoch, "offset": cursor.offset},
        "lag": behind,
    }
    return {
        "id": device.id,
        "device_uuid": device.device_uuid,
        "device_type": device.device_type,
        "online": bool(instances),
        "instances": instances,
        **{name: value for name, value in optional.items() if value is not None},
        "last_seen": device.last_seen,
    }


def _row(row: Row) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "offset": row.offset,
        "type": row.type,
        # JSON text already, taken as it is.
        "payload": orjson.Fragment(row.payload),
        "to": _to(row),
    }
    if row.source_device != ANY:
        shown["from"] = {"device_id": row.source_device, "instance": row.source_instance}
    optional = {"key": row.key, "created_at": row.created_at, "expires_at": row.expires_at}
    return shown | {name: value for name, value in optional.items() if value is not None}


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
