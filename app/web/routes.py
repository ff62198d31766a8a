"""What the HTTP side adds to the application: its routes, its middlewares, its headers."""

from collections.abc import Sequence
from functools import partial

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from aiohttp_session import AbstractStorage, session_middleware

from app.settings import Settings
from app.web import (
    auth,
    devices,
    health,
    index,
    messages,
    openapi,
    paths,
    reference,
    users,
)
from app.web.cors import allow_origin, preflight
from app.web.csrf import refuse_foreign_writes
from app.web.deadline import deadline
from app.web.headers import harden
from app.web.problems import problems


def middlewares(settings: Settings, cookies: AbstractStorage) -> list[Middleware]:
    """Return the middlewares, the outermost first: it answers what all others raise."""
    return [
        problems,
        deadline(settings.request_seconds),
        preflight(settings.allowed_origins),
        session_middleware(cookies),
        refuse_foreign_writes,
    ]


def chain(middlewares: Sequence[Middleware], handler: Handler) -> Handler:
    """Return the handler inside of the middlewares."""
    for middleware in reversed(middlewares):
        handler = partial(middleware, handler=handler)
    return handler


def add_routes(app: web.Application, middlewares: Sequence[Middleware]) -> None:
    """The application answers every path but the socket's, and all its answers are hardened.

    The routes carry the middlewares; the last one answers for every path that has no other.
    """
    app.on_response_prepare.append(harden)
    app.on_response_prepare.append(allow_origin)
    for method, path, handler in ROUTES:
        chained = chain(middlewares, handler)
        app.router.add_route(method, path, chained)
        # Signing out has an effect, so nobody asks for it by HEAD.
        if method == hdrs.METH_GET and handler is not auth.logout_by_get:
            app.router.add_route(hdrs.METH_HEAD, path, chained)
    app.router.add_route("*", "/{path:.*}", chain(middlewares, nowhere))


async def nowhere(request: web.Request) -> web.StreamResponse:
    """Raises 405 for a path that has other methods, else 404."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        if resource is not request.match_info.route.resource:
            allowed |= (await resource.resolve(request))[1]
    if allowed:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))
    raise web.HTTPNotFound


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", paths.INDEX, index.index),
    ("GET", paths.HEALTH, health.health),
    ("GET", paths.READY, health.ready),
    ("GET", paths.METRICS, health.metrics),
    ("POST", paths.LOGIN, auth.login),
    ("POST", paths.LOGOUT, auth.logout),
    ("GET", paths.LOGOUT, auth.logout_by_get),
    ("GET", paths.SESSION, auth.session),
    ("POST", paths.CHANGE, auth.password),
    ("GET", paths.DEVICES, devices.list_devices),
    ("PATCH", paths.DEVICE, devices.rename_device),
    ("DELETE", paths.DEVICE, devices.revoke_device),
    ("POST", paths.MESSAGES, messages.send_message),
    ("POST", paths.BATCH, messages.send_batch),
    ("GET", paths.USER_STREAM, users.read_stream),
    ("GET", paths.USER_DEVICES, users.list_user_devices),
    ("GET", paths.OPENAPI, openapi.openapi),
    ("GET", paths.REFERENCE, reference.reference),
)
