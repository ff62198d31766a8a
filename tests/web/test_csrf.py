"""What a page of another site can do with our cookie: nothing."""

import pytest

from tests.web.api import Api, Start, problem

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://app.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_write_of_a_foreign_page_is_403_and_changes_nothing(
    start: Start, headers: dict[str, str]
) -> None:
    api = await start(allowed_origins="https://app.example")
    ada = await api.sign_in()
    sent = {**ada.by_cookie, **headers}
    for method, path in (
        ("POST", "/v1/auth/logout"),
        ("POST", "/v1/auth/password"),
        ("PATCH", f"/v1/devices/{ada.device_id}"),
        ("DELETE", f"/v1/devices/{ada.device_id}"),
    ):
        response = await api.http.request(method, path, headers=sent)
        assert response.status == 403
        assert (await problem(response))["code"] == "forbidden_origin"
    assert await api.whoami(ada.by_cookie) == 200


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_token_proves_that_the_page_is_allowed_to(
    api: Api, headers: dict[str, str]
) -> None:
    ada = await api.sign_in()
    sent = {**ada.by_cookie, **ada.by_header, **headers}
    assert (await api.http.post("/v1/auth/logout", headers=sent)).status == 200


async def test_our_own_page_and_clients_that_say_nothing_may_write(api: Api) -> None:
    for headers in (
        {},
        {"Origin": api.origin},
        {"Origin": api.origin.upper()},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ):
        ada = await api.sign_in()
        response = await api.http.post("/v1/auth/logout", headers={**ada.by_cookie, **headers})
        assert response.status == 200


async def test_a_proxy_that_speaks_tls_does_not_make_our_own_page_foreign(api: Api) -> None:
    ada = await api.sign_in()
    headers = {**ada.by_cookie, "Host": "box.example", "Origin": "https://box.example"}
    assert (await api.http.post("/v1/auth/logout", headers=headers)).status == 200


async def test_a_trusted_proxy_says_which_host_the_page_came_from(start: Start) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    ada = await api.sign_in()
    headers = {
        **ada.by_cookie,
        "Origin": "https://box.example",
        "X-Forwarded-Host": "box.example",
        "X-Forwarded-Proto": "https",
    }
    assert (await api.http.post("/v1/auth/logout", headers=headers)).status == 200


@pytest.mark.parametrize(
    "told",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Proto": "wss"},
        {"Forwarded": "for=203.0.113.7;proto=https"},
    ],
    ids=str,
)
async def test_a_page_of_http_is_foreign_where_a_trusted_proxy_tells_of_https(
    start: Start, told: dict[str, str]
) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    ada = await api.sign_in()
    page = {**ada.by_cookie, **told, "Host": "box.example"}
    sent = {**page, "Origin": "http://box.example"}
    response = await api.http.post("/v1/auth/logout", headers=sent)
    assert (await problem(response))["code"] == "forbidden_origin"
    assert await api.whoami(sent) == 401
    socket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    response = await api.http.get("/v1/ws", headers={**sent, **socket, **key})
    assert (await problem(response))["code"] == "forbidden_origin"
    referer = {**page, "Referer": "http://box.example/page"}
    assert (await api.http.get("/v1/auth/logout", headers=referer)).status == 405
    await api.connect({**page, "Origin": "https://box.example"})


async def test_a_proxys_basic_login_is_no_token(api: Api) -> None:
    ada = await api.sign_in()
    headers = {**ada.by_cookie, "Authorization": "Basic YTpi", "Sec-Fetch-Site": "cross-site"}
    assert (await api.http.post("/v1/auth/logout", headers=headers)).status == 403
