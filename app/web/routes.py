"""The table of routes of the HTTP side, and how it becomes part of the application."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from app.requests.route import Route
from app.web import auth, devices, documentation, health, index, messages, users
from app.web.admin import connections, export, limits, overview
from app.web.admin import users as managed_users
from app.web.headers import allow_origin, harden
from app.web.middlewares import chain
from app.web.pages import page_or_file
from app.web.problems import answer_expectation

ROUTES: Final[tuple[Route, ...]] = (
    *messages.ROUTES,
    *users.ROUTES,
    *auth.ROUTES,
    *devices.ROUTES,
    *overview.ROUTES,
    *managed_users.ROUTES,
    *export.ROUTES,
    *connections.ROUTES,
    *limits.ROUTES,
    *health.ROUTES,
    *documentation.ROUTES,
    *index.ROUTES,
)


def add_routes(
    app: web.Application, routes: Iterable[Route], middlewares: Sequence[Middleware]
) -> None:
    """Add the routes, each inside of the middlewares, and have all answers carry our headers.

    The last route answers for every path that has no other.
    """
    app.on_response_prepare.append(harden)
    app.on_response_prepare.append(allow_origin)
    add = partial(app.router.add_route, expect_handler=answer_expectation)
    for route in routes:
        chained = chain(middlewares, route.respond)
        add(route.method, route.path, chained)
        if route.method == hdrs.METH_GET and route.head:
            add(hdrs.METH_HEAD, route.path, chained)
    add("*", "/{path:.*}", chain(middlewares, elsewhere))


async def elsewhere(request: web.Request) -> web.StreamResponse:
    """Answer with a file or a page of the web app.

    Raises 405 for a path that has other methods, else 404.
    """
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
