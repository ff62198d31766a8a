"""A JWT in the cookie, as an application's page puts it there: by the rules of our own cookie."""

import time

import outside
import pytest
from aiohttp import WSServerHandshakeError
from serving import PATIENCE

from tests.web.api import COOKIE, Api, Start, problem


@pytest.fixture
async def api(start: Start) -> Api:
    return await start(**outside.SETTINGS, allowed_origins="https://app.example")


def cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={token}"}


async def test_it_says_who_asks(api: Api) -> None:
    response = await api.http.get("/v1/auth/session", headers=cookie(outside.token()))
    assert (await response.json())["user_handle"] == "customer-7"
    # The page's cookie is the page's: it stays as it is.
    assert "Set-Cookie" not in response.headers


async def test_it_opens_a_socket_for_our_own_pages_and_native_clients(api: Api) -> None:
    for headers in ({"Origin": api.origin}, {}):
        await api.connect({**cookie(outside.token()), **headers})


@pytest.mark.parametrize(
    ("origin", "status"), [("https://app.example", 401), ("https://evil.example", 403)]
)
async def test_it_opens_none_for_a_page_of_another_origin(
    api: Api, origin: str, status: int
) -> None:
    with pytest.raises(WSServerHandshakeError) as caught:
        await api.connect({**cookie(outside.token()), "Origin": origin})
    assert caught.value.status == status


async def test_a_page_of_another_origin_writes_nothing_with_it(api: Api) -> None:
    headers = cookie(outside.token())
    foreign = {**headers, "Sec-Fetch-Site": "cross-site"}
    response = await api.http.post("/v1/auth/logout", headers=foreign)
    assert (response.status, (await problem(response))["code"]) == (403, "forbidden_origin")
    assert (await api.http.get("/v1/auth/logout", headers=foreign)).status == 405
    assert await api.whoami(headers) == 200


async def test_its_socket_closes_at_its_exp(api: Api) -> None:
    socket = await api.connect(cookie(outside.token(exp=int(time.time()) + 2)))
    message = await socket.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (4501, "session_expired")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("device_id", [None, "outside-0001"])
async def test_signing_out_ends_it_and_clears_the_cookie(
    api: Api, method: str, device_id: str | None
) -> None:
    headers = cookie(outside.token(device_id=device_id))
    response = await api.http.request(method, "/v1/auth/logout", headers=headers)
    assert (response.status, response.cookies[COOKIE].value) == (200, "")
    again = await api.http.request(method, "/v1/auth/logout", headers=headers)
    assert (again.status, again.cookies[COOKIE].value) == (401, "")


async def test_a_wrong_one_is_refused_and_signing_in_replaces_it(api: Api) -> None:
    wrong = cookie(outside.token(iss="https://evil.example"))
    assert await api.whoami(wrong) == 401
    response = await api.login(headers=wrong)
    assert response.status == 201
    assert await api.whoami(cookie(response.cookies[COOKIE].value)) == 200


async def test_a_token_in_the_header_comes_before_it(api: Api) -> None:
    ada = await api.sign_in()
    headers = {**cookie(outside.token()), **ada.by_header}
    response = await api.http.get("/v1/auth/session", headers=headers)
    assert (await response.json())["user_handle"] == "ada"
