"""Every route of the joined tables: it is served, and only for those whom its rule lets in."""

import asyncio
import base64
import os

import pytest
from aiohttp import ClientResponse
from serving import PATIENCE

from app.application import ROUTES
from app.requests.route import SOCKET, Route
from app.requests.rules import OPEN
from tests.web.api import Api, Start, problem

GUARDED = [route for route in ROUTES if route.handler.rule is not OPEN]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
}
STRANGER = {"X-Forwarded-For": "203.0.113.7"}
"""A client on another machine: this very one may read the metrics."""

WRONG = [
    pytest.param({}, id="none"),
    pytest.param({"Authorization": "Bearer wrong"}, id="wrong token"),
    pytest.param({"Authorization": "Bearer sbk_" + "x" * 43}, id="wrong key"),
    pytest.param({"Authorization": "Basic YTpi"}, id="other scheme"),
    pytest.param({"Cookie": "session_token=wrong"}, id="wrong cookie"),
]


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


async def ask(api: Api, route: Route, headers: dict[str, str]) -> ClientResponse:
    """Return the answer to a request by this row that nobody may make."""
    sent = {**STRANGER, **headers, **(UPGRADE if route.path == SOCKET else {})}
    return await api.http.request(route.method, route.path.replace("{id}", "1"), headers=sent)


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize("route", GUARDED, ids=named)
async def test_it_is_refused_without_its_credential(
    start: Start, route: Route, headers: dict[str, str]
) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    response = await ask(api, route, headers)
    refusal = f"{response.status} {(await problem(response))['code']}"
    assert response.status in (401, 403, 405)
    assert refusal in route.handler.rule.refusals


@pytest.mark.parametrize("route", [route for route in GUARDED if route.body is not None], ids=named)
async def test_it_is_refused_before_its_body_is_read(api: Api, route: Route) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    path = route.path.replace("{id}", "1")
    writer.write(
        f"{route.method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n{".encode()
    )
    assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 401 ")
    writer.close()


def test_the_rules_that_refuse_nobody_are_the_ones_that_are_meant() -> None:
    assert {named(route) for route in ROUTES if route.handler.rule.credential == "none"} == {
        "GET /",
        "GET /health",
        "GET /ready",
        "GET /v1/docs",
        "GET /v1/openapi.json",
        "POST /v1/auth/login",
    }
    assert all(route.handler.rule.refusals for route in GUARDED)


async def test_every_route_of_the_router_has_its_row(api: Api) -> None:
    """A route beside the tables would have no access rule."""
    served = {
        (route.method, route.resource.canonical)
        for route in api.app.router.routes()
        if route.resource is not None
    }
    heads = {("HEAD", route.path) for route in ROUTES if route.method == "GET" and route.head}
    rows = {(route.method, route.path) for route in ROUTES if route.path != SOCKET}
    assert served == (rows | heads - {("HEAD", SOCKET)}) | {("*", SOCKET), ("*", "/{path}")}
