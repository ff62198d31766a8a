"""The server at a glance."""

from aiohttp import web

from app.base.version import VERSION
from app.keys import DATABASE, MANAGER, NODE, STARTED_AT
from app.requests.identity import authorize_admin
from app.storage.directory import count_users
from app.web.answers import json_response


async def overview(request: web.Request) -> web.Response:
    """200 with how many there are of everything, now."""
    await authorize_admin(request)
    app = request.app
    async with app[DATABASE].lookup() as connection:
        users = await count_users(connection)
    manager, streams = app[MANAGER], app[NODE].log
    return json_response(
        {
            "server_version": VERSION,
            "started_at": app[STARTED_AT],
            "users": users,
            "users_online": manager.user_count,
            "devices_online": manager.device_count,
            "connections": manager.connection_count,
            "epoch": streams.epoch,
            "head": streams.last,
        }
    )
