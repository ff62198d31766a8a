"""Who makes a request: a user on a device, an application's backend, or an administrator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from aiohttp import hdrs, web

from app.auth.account_writes import not_an_admin
from app.auth.api_keys import KEY_PREFIX, allows, no_valid_api_key
from app.auth.peer import OriginVerdict
from app.auth.sessions import Sessions, no_valid_session
from app.auth.tokens import Identity, Via
from app.base.errors import Problem
from app.keys import API_KEYS, SESSIONS
from app.requests.cookies import cookie_token
from app.requests.peer import request_origin
from app.storage.api_keys import ApiKey

BEARER_PROTOCOL: Final = "bearer."

Scope = Literal["send", "read"]


async def authenticate(request: web.Request) -> Identity:
    """Return the identity that makes the request; raises Problem 401 `unauthorized`."""
    return await identify(request, request.app[SESSIONS], request_origin(request))


async def identify(request: web.Request, sessions: Sessions, verdict: OriginVerdict) -> Identity:
    """Return the identity of the request's token; raises Problem 401 `unauthorized`.

    A wrong token is refused, whatever else the request carries.
    """
    presented = await presented_token(request, verdict)
    if presented is None:
        raise no_valid_session()
    return await sessions.resolve(*presented)


async def presented_token(request: web.Request, verdict: OriginVerdict) -> tuple[str, Via] | None:
    """Return the token that counts: in the header, else an offered protocol, else the cookie.

    The cookie counts for our own pages and for native clients only.
    """
    for token in _header_tokens(request):
        return token, "header"
    for token in _protocol_tokens(request):
        return token, "protocol"
    if verdict in ("allowed", "refused"):
        return None
    kept = await cookie_token(request)
    return (kept, "cookie") if kept is not None else None


# Backends and administrators


async def authorize(request: web.Request, scope: Scope) -> ApiKey:
    """Return the API key in the Authorization header; neither sessions nor cookies count.

    Raises Problem 401 `unauthorized`, and 403 `forbidden` for a key that is not for this.
    """
    # As for a foreign page, whose cookies do not count.
    presented = await presented_token(request, "refused")
    if presented is None or presented[1] != "header":
        raise no_valid_api_key()
    key = await request.app[API_KEYS].resolve(presented[0])
    if not allows(key, scope):
        raise Problem(403, "forbidden", f"This key has not the scope {scope}.")
    return key


def still_holds(request: web.Request, key: ApiKey) -> None:
    """Raise Problem 401 `unauthorized` if the key was revoked while its request was read."""
    if not request.app[API_KEYS].holds(key):
        raise no_valid_api_key()


@dataclass(frozen=True, slots=True)
class Admin:
    """An administrator: a user, or an API key, which is no user."""

    name: str
    """For the log: `user:1` or `key:1`."""
    user_id: int | None = None
    handle: str | None = None


async def authorize_admin(request: web.Request) -> Admin:
    """Return the administrator who asks, by the rights of this instant.

    Raises Problem 401 `unauthorized`, and 403 `forbidden` for anybody else.
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
    return Admin(f"user:{identity.user_id}", identity.user_id, identity.handle)


# Tokens


def _header_tokens(request: web.Request) -> Iterator[str]:
    """Yield the token of each Authorization header: `Bearer TOKEN`, or the token alone.

    Other schemes, such as Basic, are meant for somebody else: a proxy, for instance.
    """
    for value in request.headers.getall(hdrs.AUTHORIZATION, ()):
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            yield rest.strip()
        elif scheme and not rest:
            yield scheme


def _protocol_tokens(request: web.Request) -> Iterator[str]:
    """Yield the tokens that a WebSocket upgrade offers as protocols.

    It is the one header of an upgrade that a page can set.
    """
    if request.headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return
    for line in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()):
        for offered in line.split(","):
            if offered.strip().startswith(BEARER_PROTOCOL):
                yield offered.strip().removeprefix(BEARER_PROTOCOL)
