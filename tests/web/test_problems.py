"""Refusals, and headers that every answer carries."""

import logging

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from app.base.errors import Problem
from app.keys import DATABASE
from app.web.problems import answer_problems, problem_response
from tests.web.api import Api, Client, problem


async def test_an_unknown_path_is_not_found_and_not_echoed(api: Api) -> None:
    response = await api.http.get("/v1/<script>")
    body = await problem(response)
    assert (body["status"], body["code"]) == (404, "not_found")
    assert "script" not in str(body)


async def test_a_wrong_method_says_which_are_right(api: Api) -> None:
    response = await api.http.put("/v1/devices")
    assert (await problem(response))["code"] == "method_not_allowed"
    assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", ["/v1/auth/login", "/v1/ws", "/v1/nothing", "/"])
async def test_an_unknown_expectation_is_refused_and_not_echoed(api: Api, path: str) -> None:
    response = await api.http.post(path, headers={"Expect": "<miracles>"})
    body = await problem(response)
    assert (body["status"], body["code"]) == (417, "expectation_failed")
    assert "miracles" not in str(body)
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_who_expects_to_go_on_may_send_its_body(api: Api) -> None:
    response = await api.http.post("/v1/auth/login", json={}, expect100=True)
    assert (await problem(response))["code"] == "invalid_body"


@pytest.mark.parametrize("path", ["/", "/health", "/v1/auth/session", "/nothing", "/v1/ws"])
async def test_every_answer_is_hardened_and_names_no_version(api: Api, path: str) -> None:
    response = await api.http.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Server"] == "Switchboard"


@pytest.mark.parametrize("path", ["/v1/auth/session", "/v1/nothing", "/v1/ws"])
async def test_nothing_of_the_interface_is_cached(api: Api, path: str) -> None:
    response = await api.http.get(path)
    assert response.headers["Cache-Control"] == "no-store"


async def test_a_socket_that_is_no_upgrade_learns_what_is_needed(api: Api) -> None:
    response = await api.http.get("/v1/ws")
    assert response.status == 426
    assert response.headers["Upgrade"] == "websocket"
    assert response.headers["Sec-WebSocket-Version"] == "13"


def test_a_problem_tells_status_code_and_when_to_return() -> None:
    response = problem_response(Problem(503, "busy", "Later.", retry_after=3))
    assert response.status == 503
    assert response.headers["Retry-After"] == "3"
    assert isinstance(response.body, bytes)
    assert b'"code":"busy"' in response.body


class Boom(Exception):
    """Something nobody foresaw."""


@pytest.fixture
async def failing(aiohttp_client: object) -> Client:
    async def boom(request: web.Request) -> web.Response:
        await request.read()
        raise Boom("reason")

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def teapot(request: web.Request) -> web.Response:
        raise web.HTTPPreconditionFailed(text=request.query_string)

    app = web.Application(middlewares=[answer_problems])
    app.add_routes(
        [
            web.post("/boom/{id}", boom),
            web.get("/moved", moved),
            web.get("/condition", teapot),
        ]
    )
    client: TestClient[web.Request, web.Application] = await aiohttp_client(app)  # type: ignore[operator]
    return client


async def test_a_failure_is_logged_once_without_the_body_and_answered_without_the_reason(
    failing: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = await failing.post("/boom/secret-id", data=b"secret-body")
    body = await problem(response)
    assert (body["status"], body["code"]) == (500, "internal_error")
    assert "reason" not in body["detail"].replace("the reason is in its log", "")
    errors = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(errors) == 1
    assert errors[0].exc_info is not None
    assert errors[0].getMessage() == "POST /boom/{id} failed"
    assert "secret-body" not in caplog.text


async def test_a_redirect_stays_a_redirect(failing: Client) -> None:
    response = await failing.get("/moved", allow_redirects=False)
    assert response.status == 302


async def test_other_http_errors_get_a_code_of_their_name(failing: Client) -> None:
    response = await failing.get("/condition?echo")
    body = await problem(response)
    assert (body["status"], body["code"]) == (412, "precondition_failed")
    assert "echo" not in str(body)


async def test_damage_that_a_request_meets_is_unavailable_and_no_failure_of_ours(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    database = api.app[DATABASE]
    await database.transact(lambda one: one.exec_driver_sql("PRAGMA writable_schema = ON") and None)
    broken = "UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'users'"
    await database.transact(lambda one: one.exec_driver_sql(broken) and None)
    await database.reader.dispose()
    response = await api.login()
    assert response.status == 503
    assert (await problem(response))["code"] == "storage_unavailable"
    assert "failed" not in caplog.text
