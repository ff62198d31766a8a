"""Who may administer: a session of a user with the role admin, or an API key with that scope."""

import logging
from dataclasses import dataclass

from aiohttp import web

from app.auth.account_users import not_an_admin
from app.auth.api_keys import KEY_PREFIX, allows
from app.auth.resolve import presented_token
from app.keys import API_KEYS
from app.logs import fields
from app.web.bodies import B, parse, read_exact
from app.web.identity import authenticate
from app.web.peer import request_origin

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Admin:
    """Who asks: a user, or an API key, which is no user."""

    name: str
    """For the log: `user:1` or `key:1`."""
    user_id: int | None = None


async def authorize_admin(request: web.Request) -> Admin:
    """Return who asks, by what holds at this instant.

    Raises Problem 401 `unauthorized`, and 403 `forbidden` for who is no administrator.
    """
    presented = await presented_token(request, request_origin(request))
    if presented is not None and presented[1] == "header" and presented[0].startswith(KEY_PREFIX):
        key = await request.app[API_KEYS].resolve(presented[0])
        if not allows(key, "admin"):
            raise not_an_admin()
        return Admin(f"key:{key.id}")
    identity = await authenticate(request)
    if not identity.is_admin:
        raise not_an_admin()
    return Admin(f"user:{identity.user_id}", identity.user_id)


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
