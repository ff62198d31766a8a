"""The server at a glance, for administrators."""

from typing import Final

from aiohttp import web
from pydantic import Field

from app.base.version import VERSION
from app.keys import CLOCK, DATABASE, MANAGER, NODE, STARTED_AT
from app.requests.identity import Admin
from app.requests.route import Route
from app.requests.rules import ADMINISTRATOR
from app.storage.directory import count_users
from app.web.bodies import Answer, json_response


class OverviewAnswer(Answer):
    """The server at a glance."""

    server_version: str
    started_at: int
    clock_ahead_seconds: int = Field(
        description="How far the machine's clock is ahead of the time that the server trusts;"
        " negative if it is behind, 0 while it is trusted."
    )
    users: int
    users_online: int
    devices_online: int
    connections: int
    epoch: str
    head: int = Field(description="The newest offset of all streams.")


async def overview(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with how many there are of everything, now."""
    app = request.app
    async with app[DATABASE].lookup() as connection:
        users = await count_users(connection)
    manager, streams = app[MANAGER], app[NODE].log
    return json_response(
        {
            "server_version": VERSION,
            "started_at": app[STARTED_AT],
            "clock_ahead_seconds": round(app[CLOCK].ahead()),
            "users": users,
            "users_online": manager.user_count,
            "devices_online": manager.device_count,
            "connections": manager.connection_count,
            "epoch": streams.epoch,
            "head": streams.last,
        }
    )


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/admin/overview",
        handler=ADMINISTRATOR.before(overview),
        tag="Administration",
        summary="The server at a glance",
        answer=OverviewAnswer,
    ),
)
