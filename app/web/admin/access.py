"""Who may administer: a session of a user with the role admin, or an API key with that scope."""

import logging

from aiohttp import web

from app.base.logs import fields
from app.requests.identity import Admin, authorize_admin
from app.web.bodies import B, parse, read_exact

log = logging.getLogger(__name__)


async def read_as_admin(request: web.Request, model: type[B], limit: int) -> tuple[Admin, B]:
    """Return who asks and the body; raises what `authorize_admin` and `read_exact` do."""
    await authorize_admin(request)
    body = parse(model, await read_exact(request, limit))
    # The body may have taken its time, and the right may have gone meanwhile.
    return await authorize_admin(request), body


def note(request: web.Request, admin: Admin, /, **about: object) -> None:
    """One line tells who has done what to whom."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    extra = fields(by=admin.name, method=request.method, path=path, **about)
    log.info("administered", extra=extra)
