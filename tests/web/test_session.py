"""GET /v1/auth/session: who asks."""

import pytest

from app.keys import READINESS
from tests.web.api import Api, Start, problem


async def test_the_raw_token_bearer_and_the_cookie_all_count(api: Api) -> None:
    ada = await api.sign_in()
    for headers in (ada.by_header, {"Authorization": f"Bearer {ada.token}"}, ada.by_cookie):
        response = await api.http.get("/v1/auth/session", headers=headers)
        assert response.status == 200
        assert await response.json() == {
            "user_id": ada.body["user_id"],
            "user_handle": "ada",
            "permissions": ["admin"],
            "device_id": ada.device_id,
        }


async def test_nobody_is_401(api: Api) -> None:
    response = await api.http.get("/v1/auth/session")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await problem(response))["code"] == "unauthorized"


async def test_a_wrong_token_never_falls_back_to_the_cookie(api: Api) -> None:
    ada = await api.sign_in()
    assert await api.whoami({**ada.by_cookie, "Authorization": "wrong"}) == 401


async def test_the_basic_login_of_a_proxy_is_not_taken_for_a_token(api: Api) -> None:
    ada = await api.sign_in()
    assert await api.whoami({**ada.by_cookie, "Authorization": "Basic YTpi"}) == 200


async def test_a_token_in_the_url_is_never_looked_at(api: Api) -> None:
    ada = await api.sign_in()
    response = await api.http.get("/v1/auth/session", params={"token": ada.token})
    assert response.status == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example"])
async def test_the_cookie_is_ignored_for_other_origins_and_the_token_is_not(
    start: Start, origin: str
) -> None:
    api = await start(allowed_origins="https://app.example")
    ada = await api.sign_in()
    assert await api.whoami({**ada.by_cookie, "Origin": origin}) == 401
    assert await api.whoami({**ada.by_header, "Origin": origin}) == 200


async def test_a_broken_cookie_is_401_not_an_error(api: Api) -> None:
    for value in ("x", "gAAAAABm", '"quoted"', "a" * 3000):
        assert await api.whoami({"Cookie": f"session_token={value}"}) == 401


async def test_a_server_that_stops_says_when_to_come_back(start: Start) -> None:
    api = await start(retry_after_seconds=7)
    ada = await api.sign_in()
    api.app[READINESS].draining = True
    response = await api.http.get("/v1/auth/session", headers=ada.by_header)
    assert response.status == 503
    assert response.headers["Retry-After"] == "7"
    assert (await problem(response))["code"] == "draining"
