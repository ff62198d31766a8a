"""Signing out, by POST and by the GET of older clients."""

import outside
import pytest
from serving import PATIENCE

from tests.web.api import COOKIE, Api, Start, problem


async def test_signing_out_ends_the_session_and_clears_the_cookie(api: Api) -> None:
    ada = await api.sign_in()
    response = await api.http.post("/v1/auth/logout", headers=ada.by_cookie)
    assert response.status == 200
    assert response.cookies[COOKIE].value == ""
    assert await api.whoami(ada.by_header) == 401
    # A copy of the cookie is worth nothing either.
    assert await api.whoami(ada.by_cookie) == 401


async def test_signing_out_ends_only_the_session_that_was_presented(api: Api) -> None:
    first = await api.sign_in()
    second = await api.sign_in()
    await api.http.post("/v1/auth/logout", headers=first.by_header)
    assert await api.whoami(first.by_header) == 401
    assert await api.whoami(second.by_header) == 200


async def test_signing_out_closes_the_sockets_of_the_session_so_that_tabs_stay_away(
    api: Api,
) -> None:
    first = await api.sign_in()
    second = await api.sign_in()
    tab = await api.connect({**first.by_cookie, "Origin": api.origin})
    other = await api.connect({**second.by_cookie, "Origin": api.origin})
    await api.http.post("/v1/auth/logout", headers=first.by_cookie)
    message = await tab.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (1000, "signed_out")
    await other.send_json({"type": "ping"})
    assert (await other.receive_json(timeout=PATIENCE))["type"] == "pong"


async def test_signing_out_without_a_session_is_401_and_clears_a_dead_cookie(api: Api) -> None:
    ada = await api.sign_in()
    await api.http.post("/v1/auth/logout", headers=ada.by_header)
    response = await api.http.post("/v1/auth/logout", headers=ada.by_cookie)
    assert response.status == 401
    assert (await problem(response))["code"] == "unauthorized"
    assert response.cookies[COOKIE].value == ""


@pytest.mark.parametrize("device_id", [None, "outside-0001"])
async def test_signing_out_ends_a_jwt_with_a_device_or_without(
    start: Start, device_id: str | None
) -> None:
    api = await start(**outside.SETTINGS)
    token = outside.token(device_id=device_id)
    headers = {"Authorization": f"Bearer {token}"}
    assert await api.whoami(headers) == 200
    response = await api.http.post("/v1/auth/logout", headers=headers)
    assert (response.status, await response.json()) == (200, {"signed_out": True})
    assert await api.whoami(headers) == 401
    assert await api.whoami({"Authorization": f"{token}="}) == 401
    assert (await api.http.post("/v1/auth/logout", headers=headers)).status == 401


SAFE = [
    pytest.param({}, id="no header tells"),
    pytest.param({"Accept": "application/json"}, id="a script's accept"),
    pytest.param({"Accept": "*/*"}, id="anything"),
    pytest.param({"Accept": "*/*;q=0.8"}, id="anything, weighted"),
    pytest.param({"Accept": ""}, id="an empty accept"),
    pytest.param({"Accept": "application/json, text/plain, */*"}, id="a library's accept"),
    pytest.param({"Accept": "APPLICATION/JSON;charset=utf-8"}, id="JSON in capitals"),
    pytest.param({"Accept": "text/plain, application/problem+json;q=0.5"}, id="problems"),
    pytest.param({"Sec-Fetch-Site": "same-origin"}, id="same-origin fetch"),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}, id="own link"),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, id="own fetch"),
    pytest.param({"Origin": "OURS"}, id="own origin"),
    pytest.param({"Referer": "OURS/page?x=1"}, id="own referer"),
]
FORGED = [
    pytest.param({"Accept": "text/html,*/*"}, id="a followed link"),
    pytest.param({"Accept": "image/*"}, id="an image"),
    pytest.param({"Accept": "image/avif,image/webp,image/png,*/*;q=0.8"}, id="a browser's image"),
    pytest.param({"Accept": "text/css,*/*;q=0.1"}, id="a browser's style"),
    pytest.param({"Accept": "video/webm,video/*;q=0.9,*/*;q=0.5"}, id="a browser's video"),
    pytest.param({"Accept": "text/plain"}, id="text"),
    pytest.param({"Accept": "application/*"}, id="an application"),
    pytest.param({"Accept": "text/html, application/json;q=0"}, id="anything but JSON"),
    pytest.param({"Accept": "application/json-seq"}, id="almost JSON"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
    pytest.param({"Sec-Fetch-Site": "same-site"}, id="same-site"),
    pytest.param({"Sec-Fetch-Site": "none"}, id="typed by a person"),
    pytest.param({"Origin": "https://evil.example"}, id="foreign origin"),
    pytest.param({"Origin": "null"}, id="opaque origin"),
    pytest.param({"Referer": "https://evil.example/"}, id="foreign referer"),
    pytest.param({"Referer": "http://[", "Accept": "*/*"}, id="broken referer"),
    pytest.param({"Origin": "OURS", "Sec-Fetch-Site": "cross-site"}, id="contradiction"),
    pytest.param({"Sec-Fetch-Mode": "no-cors", "Accept": "*/*"}, id="a browser, of unknown site"),
    pytest.param({"Sec-Fetch-Dest": "iframe"}, id="a frame of unknown site"),
    pytest.param(
        {"Sec-Fetch-Site": "same-origin", "Sec-Purpose": "prefetch;prerender"}, id="prerendered"
    ),
    pytest.param({"Sec-Fetch-Site": "same-origin", "Sec-Purpose": "prefetch"}, id="prefetched"),
    pytest.param({"Purpose": "prefetch", "Referer": "OURS/"}, id="prefetched by older browsers"),
    pytest.param({"X-Moz": "prefetch"}, id="prefetched by old Firefox"),
    pytest.param({"X-Purpose": "preview", "Accept": "*/*"}, id="previewed by Safari"),
]


def _with_origin(headers: dict[str, str], origin: str) -> dict[str, str]:
    return {name: value.replace("OURS", origin) for name, value in headers.items()}


@pytest.mark.parametrize("headers", SAFE)
async def test_the_get_form_works_where_no_other_site_can_trigger_it(
    api: Api, headers: dict[str, str]
) -> None:
    ada = await api.sign_in()
    sent = _with_origin({**ada.by_cookie, **headers}, api.origin)
    response = await api.http.get("/v1/auth/logout", headers=sent)
    assert response.status == 200
    assert response.cookies[COOKIE].value == ""
    assert await api.whoami(ada.by_header) == 401


@pytest.mark.parametrize("headers", FORGED)
async def test_the_get_form_is_405_where_another_site_could_trigger_it(
    api: Api, headers: dict[str, str]
) -> None:
    ada = await api.sign_in()
    sent = _with_origin({**ada.by_cookie, **headers}, api.origin)
    response = await api.http.get("/v1/auth/logout", headers=sent)
    assert response.status == 405
    assert response.headers["Allow"] == "POST"
    assert (await problem(response))["code"] == "method_not_allowed"
    assert await api.whoami(ada.by_cookie) == 200


@pytest.mark.parametrize("scheme", ["", "Bearer "])
async def test_the_get_form_works_with_a_token(api: Api, scheme: str) -> None:
    ada = await api.sign_in()
    headers = {"Authorization": f"{scheme}{ada.token}", "Sec-Fetch-Site": "cross-site"}
    response = await api.http.get("/v1/auth/logout", headers=headers)
    assert response.status == 200
    assert await api.whoami(ada.by_header) == 401


async def test_a_proxys_basic_login_does_not_make_the_get_form_safe(api: Api) -> None:
    ada = await api.sign_in()
    headers = {**ada.by_cookie, "Authorization": "Basic YTpi", "Sec-Fetch-Site": "cross-site"}
    assert (await api.http.get("/v1/auth/logout", headers=headers)).status == 405
    assert await api.whoami(ada.by_cookie) == 200


async def test_the_get_form_without_any_session_is_405(api: Api) -> None:
    assert (await api.http.get("/v1/auth/logout")).status == 405


async def test_head_signs_nobody_out(api: Api) -> None:
    ada = await api.sign_in()
    assert (await api.http.head("/v1/auth/logout", headers=ada.by_header)).status == 405
    assert await api.whoami(ada.by_header) == 200
