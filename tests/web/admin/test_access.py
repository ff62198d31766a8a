"""Who may administer, and how the right ends."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from app.application import ROUTES
from app.keys import ACCOUNTS, API_KEYS
from app.requests.route import Route
from app.web.admin.overview import OverviewAnswer
from tests.web.admins import Desk
from tests.web.api import Api, problem
from tests.web.backend import all_keys, shop

OF_ADMINISTRATORS = [route for route in ROUTES if route.tag == "Administration"]


def target(route: Route) -> str:
    return route.path.replace("{id}", "1")


def named(route: Route) -> str:
    return f"{route.method} {route.path}"


every_route = pytest.mark.parametrize(
    ("method", "path"),
    [(route.method, target(route)) for route in OF_ADMINISTRATORS],
)


def test_every_path_of_administrators_is_for_administrators() -> None:
    assert len(OF_ADMINISTRATORS) >= 9
    for route in ROUTES:
        is_theirs = route.path.startswith("/v1/admin/")
        assert (route.handler.rule.credential == "admin") is is_theirs
        assert (route in OF_ADMINISTRATORS) is is_theirs


@every_route
async def test_it_is_for_administrators_only(api: Api, method: str, path: str) -> None:
    await api.add_user("bob")
    bob = await api.sign_in(user_handle="bob")
    for headers in (bob.by_header, bob.by_cookie):
        response = await api.http.request(method, path, headers=headers)
        assert response.status == 403
        assert (await problem(response))["code"] == "forbidden"


@every_route
async def test_nobody_administers_without_a_session(api: Api, method: str, path: str) -> None:
    response = await api.http.request(method, path)
    assert response.status == 401
    assert (await problem(response))["code"] == "unauthorized"


@every_route
async def test_only_a_key_of_the_scope_admin_counts(api: Api, method: str, path: str) -> None:
    others = await shop(api, "send", "read")
    response = await api.http.request(method, path, headers=others.by_header)
    assert response.status == 403
    unknown = {"Authorization": "Bearer sbk_" + "x" * 43}
    response = await api.http.request(method, path, headers=unknown)
    assert response.status == 401


@every_route
async def test_a_page_of_another_site_cannot_write_with_the_cookie(
    api: Api, method: str, path: str
) -> None:
    ada = await api.sign_in()
    headers = {**ada.by_cookie, "Origin": "https://evil.example"}
    response = await api.http.request(method, path, headers=headers, json={})
    assert response.status == (401 if method == "GET" else 403)


async def test_an_administrator_comes_with_header_or_cookie_and_a_key_too(api: Api) -> None:
    ada = await api.sign_in()
    key = await shop(api, "admin")
    for headers in (ada.by_header, ada.by_cookie, key.by_header):
        response = await api.http.get("/v1/admin/overview", headers=headers)
        assert response.status == 200


async def test_a_revoked_key_is_refused(api: Api) -> None:
    key = await shop(api, "admin")
    await api.app[API_KEYS].revoke((await all_keys(api))[0].id)
    response = await api.http.get("/v1/admin/overview", headers=key.by_header)
    assert response.status == 401


async def test_who_is_no_administrator_any_more_is_refused_at_once(desk: Desk) -> None:
    bob = await desk.api.add_user("bob", ("admin",))
    session = await desk.api.sign_in(user_handle="bob")
    theirs = Desk(desk.api, session)
    await theirs.get("/overview")
    await desk.do("PATCH", f"/users/{bob}", {"admin": False})
    assert await theirs.refused("GET", "/overview") == (403, "forbidden")
    who = await desk.api.http.get("/v1/auth/session", headers=session.by_header)
    assert (await who.json())["permissions"] == []
    await desk.do("PATCH", f"/users/{bob}", {"admin": True})
    await theirs.get("/overview")


@pytest.mark.parametrize(
    "route", [route for route in OF_ADMINISTRATORS if route.body is not None], ids=named
)
async def test_a_right_that_goes_while_the_body_comes_is_gone(desk: Desk, route: Route) -> None:
    api = desk.api
    bob = await api.add_user("bob", ("admin",))
    session = await api.sign_in(user_handle="bob")
    received, release = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"user_handle": "eve", "new_password": "a long password",'
        received.set()
        await release.wait()
        yield b'"admin": true}'

    headers = {**session.by_header, "Content-Type": "application/json"}
    asking = asyncio.create_task(
        api.http.request(route.method, target(route), data=body(), headers=headers)
    )
    await received.wait()
    await desk.do("PATCH", f"/users/{bob}", {"admin": False})
    release.set()
    assert (await asking).status == 403
    assert [user.handle for user in await api.app[ACCOUNTS].list_users()] == ["ada", "bob"]


async def test_what_was_done_is_in_the_log_with_who_did_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        made = await desk.do("POST", "/users", {"user_handle": "eve"})
        await desk.do("PATCH", f"/users/{made['id']}", {"admin": True})
    lines = [one.__dict__["fields"] for one in caplog.records if one.message == "administered"]
    assert lines == [
        {
            "by": f"user:{desk.user_id}",
            "by_handle": "ada",
            "method": "POST",
            "path": "/v1/admin/users",
            "user": made["id"],
            "handle": "eve",
        },
        {
            "by": f"user:{desk.user_id}",
            "by_handle": "ada",
            "method": "PATCH",
            "path": "/v1/admin/users/{id}",
            "user": made["id"],
            "handle": "eve",
            "admin": True,
        },
    ]
    assert made["password"] not in caplog.text


async def test_the_overview_counts_everything(desk: Desk) -> None:
    await desk.api.add_user("bob")
    one = await desk.api.sign_in(device_uuid="device-0002")
    for instance in "ab":
        await desk.api.http.ws_connect(f"/v1/ws?instance={instance}", headers=one.by_header)
    found = await desk.get("/overview")
    OverviewAnswer.model_validate(found)
    counted = {
        name: found[name] for name in ("users", "users_online", "devices_online", "connections")
    }
    assert counted == {"users": 2, "users_online": 1, "devices_online": 1, "connections": 2}
    assert found["clock_ahead_seconds"] == 0
