"""Signing in and out, asking who one is, changing the password."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from aiohttp import hdrs, web
from pydantic import Field

from app.auth.accounts import SignedIn, SignIn
from app.auth.peer import Peer
from app.auth.tokens import Identity
from app.base.errors import Problem
from app.base.metrics import Metrics
from app.keys import ACCOUNTS, METRICS, NODE
from app.requests.cookies import forget, remember
from app.requests.identity import authenticate
from app.requests.peer import request_peer
from app.requests.route import LOGIN, Route
from app.requests.rules import OPEN, SESSION, AccessRule
from app.web.bodies import Absent, Answer, Body, Cut, Secret, json_response, read_body
from app.web.csrf import is_foreign, may_sign_out_by_get, token_via
from app.web.health import refuse_while_draining
from app.web.problems import problem_response

SIGN_IN_FAILURES: Final = (
    "invalid_credentials",
    "too_many_attempts",
    "too_many_devices",
    "invalid_device",
    "busy",
    "storage_unavailable",
    "other",
)
"""Codes with which a sign-in is refused, as the metrics count them."""


class LoginBody(Body):
    """POST /v1/auth/login."""

    user_handle: str = Field(max_length=256)
    password: Secret
    device_uuid: str = Field(max_length=256)
    device_type: str = Field(max_length=256)
    device_name: Cut = None
    os_info: Cut = None


class PasswordBody(Body):
    """POST /v1/auth/password."""

    old_password: Secret
    new_password: Secret


class SignedInAnswer(Answer):
    """A new session."""

    token: str = Field(description="For `Authorization: Bearer`.")
    user_id: int
    user_handle: str
    permissions: list[str]
    device_id: int | Absent = None


class SignedOutAnswer(Answer):
    """The session is over."""

    signed_out: Literal[True]


class WhoAnswer(Answer):
    """Whose session it is."""

    user_id: int
    user_handle: str
    permissions: list[str]
    device_id: int | Absent = None


async def login(request: web.Request, peer: Peer) -> web.Response:
    """Answer 201 with the token; a page of our own also gets it as the cookie."""
    body = await read_body(request, LoginBody)
    with _counted(request.app[METRICS]):
        signed_in = await request.app[ACCOUNTS].sign_in(
            SignIn(
                user_handle=body.user_handle,
                password=body.password,
                device_uuid=body.device_uuid,
                device_type=body.device_type,
                device_name=body.device_name,
                os_info=body.os_info,
            ),
            peer.networks,
            peer.address,
        )
    request.app[NODE].end(signed_in.ended)
    if not is_foreign(request):
        await remember(request, signed_in.token)
    return json_response(_signed_in(signed_in), status=201)


async def session(request: web.Request, identity: Identity) -> web.Response:
    """Answer 200 with who asks."""
    return json_response(_who(identity))


async def logout(request: web.Request, identity: Identity) -> web.Response:
    """End the presented session, close its sockets and clear the cookie."""
    request.app[NODE].end(await request.app[ACCOUNTS].sign_out(identity))
    await forget(request)
    # Not 204: clients that expect a body of any kind exist.
    return json_response({"signed_out": True})


async def password(request: web.Request, identity: Identity) -> web.Response:
    """Answer 204 when the password is changed; every other session of the user is over."""
    body = await read_body(request, PasswordBody)
    ended = await request.app[ACCOUNTS].change_password(
        identity, body.old_password, body.new_password, request_peer(request).address
    )
    request.app[NODE].end(ended)
    return web.Response(status=204)


@contextmanager
def _counted(metrics: Metrics) -> Iterator[None]:
    """Count the sign-in inside the block, or why it fails."""
    try:
        yield
    except Problem as problem:
        reason = problem.code if problem.code in SIGN_IN_FAILURES else "other"
        metrics.sign_ins_failed[reason] += 1
        raise
    metrics.sign_ins += 1


def _signed_in(signed_in: SignedIn) -> dict[str, Any]:
    user, device = signed_in.user, signed_in.device
    return {
        "token": signed_in.token,
        "user_id": user.id,
        "user_handle": user.handle,
        "permissions": list(user.roles),
        **({"device_id": device.id} if device is not None else {}),
    }


def _who(identity: Identity) -> dict[str, Any]:
    device_id = identity.device_id
    return {
        "user_id": identity.user_id,
        "user_handle": identity.handle,
        "permissions": identity.permissions,
        **({"device_id": device_id} if device_id is not None else {}),
    }


# Access rules of single routes


async def _unless_draining(request: web.Request) -> Identity:
    """Return who asks; while the server stops, 503 tells a browser when to return."""
    refuse_while_draining(request)
    return await authenticate(request)


async def _or_clear_cookie(request: web.Request) -> Identity | web.StreamResponse:
    """Return who asks, or an answer of 401 that clears the cookie of a dead session."""
    try:
        return await authenticate(request)
    except Problem as problem:
        # An answer, since what is raised clears no cookie.
        if await token_via(request) == "cookie":
            await forget(request)
        return problem_response(problem)


async def _by_get(request: web.Request) -> Identity | web.StreamResponse:
    """Do the same for the GET of older clients, but raise 405 where another site could cause it."""
    if not await may_sign_out_by_get(request):
        raise web.HTTPMethodNotAllowed(hdrs.METH_GET, [hdrs.METH_POST])
    return await _or_clear_cookie(request)


_SESSION_UNLESS_DRAINING: Final = AccessRule(
    "session", _unless_draining, (*SESSION.refusals, "503 draining")
)
_SESSION_OR_CLEAR_COOKIE: Final[AccessRule[Identity]] = AccessRule(
    "session", _or_clear_cookie, SESSION.refusals
)
_SESSION_BY_GET: Final[AccessRule[Identity]] = AccessRule(
    "session", _by_get, (*SESSION.refusals, "405 method_not_allowed")
)

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="POST",
        path=LOGIN,
        handler=OPEN.before(login),
        tag="Sessions",
        summary="Sign in",
        what="A page of this origin gets the cookie `session_token` too.",
        body=LoginBody,
        status=201,
        answer=SignedInAnswer,
        problems=(
            "400 invalid_device",
            "401 invalid_credentials",
            "429 too_many_attempts",
            "429 too_many_devices",
            "503 busy",
        ),
    ),
    Route(
        method="GET",
        path="/v1/auth/session",
        handler=_SESSION_UNLESS_DRAINING.before(session),
        tag="Sessions",
        summary="Who am I",
        answer=WhoAnswer,
    ),
    Route(
        method="POST",
        path="/v1/auth/logout",
        handler=_SESSION_OR_CLEAR_COOKIE.before(logout),
        tag="Sessions",
        summary="Sign out",
        what="The session that is presented is over, and its sockets close.",
        answer=SignedOutAnswer,
    ),
    Route(
        method="GET",
        path="/v1/auth/logout",
        handler=_SESSION_BY_GET.before(logout),
        head=False,
        tag="Sessions",
        summary="Sign out, as older clients do",
        what="Only where no other site can have caused it; else 405.",
        answer=SignedOutAnswer,
    ),
    Route(
        method="POST",
        path="/v1/auth/password",
        handler=SESSION.before(password),
        tag="Sessions",
        summary="Change the password",
        what="Every other session of the user is over.",
        body=PasswordBody,
        status=204,
        problems=(
            "400 wrong_password",
            "400 password_too_short",
            "400 password_too_long",
            "400 no_password",
            "429 too_many_attempts",
            "503 busy",
        ),
    ),
)
