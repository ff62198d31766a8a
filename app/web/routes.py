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
from app.web.admin import connections as admin_connections
from app.web.admin import overview as admin_overview
from app.web.admin import users as admin_users
from app.web.cors import allow_origin, preflight
from app.web.csrf import refuse_foreign_writes
from app.web.deadline import deadline
from app.web.headers import harden
from app.web.pages import page_or_file
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
    app.router.add_route("*", "/{path:.*}", chain(middlewares, elsewhere))


async def elsewhere(request: web.Request) -> web.StreamResponse:
    """A file or page of the web app. Raises 405 for a path that has other methods, else 404."""
    page = page_or_file(request)
    if page is not None:
        return page
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
    ("POST", paths.REVOKE_OTHERS, devices.revoke_others),
    ("POST", paths.MESSAGES, messages.send_message),
    ("POST", paths.BATCH, messages.send_batch),
    ("GET", paths.USER_STREAM, users.read_stream),
    ("GET", paths.USER_DEVICES, users.list_user_devices),
    ("GET", paths.ADMIN_OVERVIEW, admin_overview.overview),
    ("GET", paths.ADMIN_USERS, admin_users.list_users),
    ("POST", paths.ADMIN_USERS, admin_users.add_user),
    ("PATCH", paths.ADMIN_USER, admin_users.change_user),
    ("DELETE", paths.ADMIN_USER, admin_users.delete_user),
    ("POST", paths.ADMIN_USER_CHANGE, admin_users.set_password),
    ("GET", paths.ADMIN_CONNECTIONS, admin_connections.list_connections),
    ("DELETE", paths.ADMIN_CONNECTION, admin_connections.close_connection),
    ("POST", paths.ADMIN_CONNECTION_MESSAGES, admin_connections.send_message),
    ("GET", paths.OPENAPI, openapi.openapi),
    ("GET", paths.REFERENCE, reference.reference),
)
