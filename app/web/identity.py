"""Who asks: the identity behind a request, and the closing of what its sessions held open."""

from aiohttp import web

from app.auth.identity import Identity
from app.auth.resolve import identify
from app.auth.sessions import Ended
from app.keys import NODE, SESSIONS
from app.web.peer import request_origin


async def authenticate(request: web.Request) -> Identity:
    """Return whose request it is; raises Problem(401, "unauthorized")."""
    return await identify(request, request.app[SESSIONS], request_origin(request))


def close_sockets(request: web.Request, ended: Ended) -> None:
    """Every connection of the sessions that just ended is told to close."""
    node = request.app[NODE]
    for selector, close in ended:
        node.disconnect(selector, close)
