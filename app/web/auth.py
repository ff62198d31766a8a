"""Signing in and out, asking who one is, changing the password."""

from typing import Any

from aiohttp import hdrs, web

from app.auth.identity import Identity
from app.auth.sign_in import SignedIn, SignIn
from app.base.errors import Problem
from app.keys import ACCOUNTS, NODE
from app.requests.cookies import forget, remember
from app.requests.identity import authenticate
from app.requests.peer import request_peer
from app.web.answers import json_response
from app.web.bodies import LoginBody, PasswordBody, read_body
from app.web.csrf import is_foreign, may_sign_out_by_get, token_via
from app.web.health import refuse_while_draining
from app.web.problems import problem_response


async def login(request: web.Request) -> web.Response:
    """201 with the token; a page of our own also gets it as the cookie."""
    body = await read_body(request, LoginBody)
    signed_in = await request.app[ACCOUNTS].sign_in(
        SignIn(
            user_handle=body.user_handle,
            password=body.password,
            device_uuid=body.device_uuid,
            device_type=body.device_type,
            device_name=body.device_name,
            os_info=body.os_info,
        ),
        request_peer(request).limit_key,
    )
    request.app[NODE].end(signed_in.ended)
    if not is_foreign(request):
        await remember(request, signed_in.token)
    return json_response(_signed_in(signed_in), status=201)


async def logout(request: web.Request) -> web.Response:
    """The presented session is over, its sockets close, and the cookie is cleared."""
    try:
        identity = await authenticate(request)
    except Problem as problem:
        # An answer, since what is raised clears no cookie: that of a dead session is of no use.
        if await token_via(request) == "cookie":
            await forget(request)
        return problem_response(problem)
    request.app[NODE].end(await request.app[ACCOUNTS].sign_out(identity))
    await forget(request)
    # Not 204: clients that expect a body of any kind exist.
    return json_response({"signed_out": True})


async def logout_by_get(request: web.Request) -> web.Response:
    """The form of older clients, refused where another site could trigger it."""
    if not await may_sign_out_by_get(request):
        raise web.HTTPMethodNotAllowed(hdrs.METH_GET, [hdrs.METH_POST])
    return await logout(request)


async def session(request: web.Request) -> web.Response:
    """200 with who one is; 503 while the server stops, so that a browser learns when to return."""
    refuse_while_draining(request)
    return json_response(_who(await authenticate(request)))


async def password(request: web.Request) -> web.Response:
    """204; every other session of the user is over."""
    identity = await authenticate(request)
    body = await read_body(request, PasswordBody)
    ended = await request.app[ACCOUNTS].change_password(
        identity, body.old_password, body.new_password, request_peer(request).limit_key
    )
    request.app[NODE].end(ended)
    return web.Response(status=204)


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
