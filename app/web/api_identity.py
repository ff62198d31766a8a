"""The application's backend behind a request: its API key, and what that may do."""

from typing import Literal

from aiohttp import web

from app.auth.api_keys import allows, unauthorized
from app.auth.resolve import presented_token
from app.errors import Problem
from app.keys import API_KEYS
from app.storage.api_keys import ApiKey

Scope = Literal["send", "read"]


async def authorize(request: web.Request, scope: Scope) -> ApiKey:
    """Return the API key in the Authorization header; neither sessions nor cookies count.

    Raises Problem 401 `unauthorized`, and 403 `forbidden` for a key that is not for this.
    """
    # As to a foreign page: what the browser keeps is not looked at.
    presented = await presented_token(request, "refused")
    if presented is None or presented[1] != "header":
        raise unauthorized()
    key = await request.app[API_KEYS].resolve(presented[0])
    if not allows(key, scope):
        raise Problem(403, "forbidden", f"This key has not the scope {scope}.")
    return key


def still_holds(request: web.Request, key: ApiKey) -> None:
    """Raises Problem 401 `unauthorized` if the key was revoked while its request was read."""
    if not request.app[API_KEYS].holds(key):
        raise unauthorized()
