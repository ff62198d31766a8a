"""From a request to an identity."""

import http.cookies
import logging
from collections.abc import Callable

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import TestClient, make_mocked_request
from cryptography.fernet import Fernet

from app.auth.origin import OriginVerdict
from app.base.errors import Problem
from app.requests.cookies import COOKIE_NAME, cookie_storage, forget, remember
from app.requests.identity import identify, presented_token
from tests.auth.house import House, statements

KEY = Fernet.generate_key()
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}
Client = TestClient[web.Request, web.Application]


class Door:
    """A server that answers with the token that counts, and sets what it is told."""

    def __init__(self, aiohttp_client: AiohttpClient) -> None:
        self._client = aiohttp_client
        self.verdict: OriginVerdict = "absent"

    async def open(self, *keys: bytes, secure: Callable[[web.Request], bool]) -> Client:
        app = web.Application()
        self.storage = cookie_storage(keys, secure, 3600)
        aiohttp_session.setup(app, self.storage)
        app.router.add_get("/token", self._token)
        app.router.add_post("/token", self._remember)
        app.router.add_delete("/token", self._forget)
        return await self._client(app)

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response(await presented_token(request, self.verdict))

    async def _remember(self, request: web.Request) -> web.Response:
        await remember(request, await request.text())
        return web.Response()

    async def _forget(self, request: web.Request) -> web.Response:
        await forget(request)
        return web.Response()


@pytest.fixture
def door(aiohttp_client: AiohttpClient) -> Door:
    return Door(aiohttp_client)


@pytest.fixture
async def client(door: Door) -> Client:
    return await door.open(KEY, secure=lambda _request: False)


async def token_of(client: Client, headers: dict[str, str] | None = None) -> object:
    async with client.get("/token", headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("abc", "abc"),
        ("Bearer abc", "abc"),
        ("bEARER   abc ", "abc"),
        ("Bearer", ""),
        ("Basic dXNlcjpwYXNz", None),
        ('Digest username="a", realm="b"', None),
        ("", None),
    ],
)
async def test_the_header_holds_a_bare_or_a_bearer_token(
    client: Client, header: str, token: str | None
) -> None:
    expected = None if token is None else [token, "header"]
    assert await token_of(client, {"Authorization": header}) == expected


async def test_a_proxys_basic_header_leaves_the_cookie_to_count(client: Client) -> None:
    await client.post("/token", data="kept")
    assert await token_of(client, {"Authorization": "Basic dXNlcjpwYXNz"}) == ["kept", "cookie"]


async def test_the_header_comes_before_the_protocol_and_that_before_the_cookie(
    client: Client,
) -> None:
    await client.post("/token", data="kept")
    offered = {**UPGRADE, "Sec-WebSocket-Protocol": "switchboard.v1, bearer.offered"}
    assert await token_of(client, {**offered, "Authorization": "sent"}) == ["sent", "header"]
    assert await token_of(client, offered) == ["offered", "protocol"]
    assert await token_of(client) == ["kept", "cookie"]


async def test_a_protocol_counts_on_upgrades_only(client: Client) -> None:
    assert await token_of(client, {"Sec-WebSocket-Protocol": "bearer.offered"}) is None


async def test_a_jwt_may_be_offered_as_a_protocol(client: Client) -> None:
    headers = {**UPGRADE, "Sec-WebSocket-Protocol": "bearer.a.b.c,switchboard.v1"}
    assert await token_of(client, headers) == ["a.b.c", "protocol"]


async def test_a_token_in_the_url_is_never_looked_at(client: Client) -> None:
    async with client.get("/token?token=abc&session_token=abc&access_token=abc") as answer:
        assert await answer.json() is None


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [("absent", True), ("same", True), ("allowed", False), ("refused", False)],
)
async def test_the_cookie_counts_for_no_foreign_page_also_an_allowed_one(
    client: Client, door: Door, verdict: OriginVerdict, counts: bool
) -> None:
    await client.post("/token", data="kept")
    door.verdict = verdict
    assert await token_of(client) == (["kept", "cookie"] if counts else None)
    assert await token_of(client, {"Authorization": "sent"}) == ["sent", "header"]


async def set_cookie(client: Client, token: str = "kept") -> tuple[str, http.cookies.Morsel[str]]:
    async with client.post("/token", data=token) as answer:
        header = answer.headers["Set-Cookie"]
    return header, http.cookies.SimpleCookie(header)[COOKIE_NAME]


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(client: Client) -> None:
    _, cookie = await set_cookie(client)
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert (cookie["max-age"], cookie["domain"]) == ("3600", "")


@pytest.mark.parametrize("length", range(1, 50, 7))
async def test_the_cookies_value_never_needs_quotes(client: Client, length: int) -> None:
    header, cookie = await set_cookie(client, "x" * length)
    assert '"' not in header
    assert "=" not in cookie.value
    assert await token_of(client) == ["x" * length, "cookie"]


async def test_what_stands_beside_the_cookie_is_not_remembered(door: Door) -> None:
    client = await door.open(KEY, secure=lambda _request: False)
    _, cookie = await set_cookie(client)
    client.session.cookie_jar.clear()
    ours = f"{COOKIE_NAME}={cookie.value}"
    for number in range(5):
        beside = f"a={number}; {ours}; b={'x' * 1000}{number}"
        assert await token_of(client, {"Cookie": beside}) == ["kept", "cookie"]
    assert len(door.storage.tokens) == 1
    for other in (f"my_{ours}", f"a={ours}", f"{COOKIE_NAME}=x; my_{ours}"):
        assert await token_of(client, {"Cookie": other}) is None
    two = f"{COOKIE_NAME}=x; {ours}"
    assert await token_of(client, {"Cookie": two}) == ["kept", "cookie"]
    assert len(door.storage.tokens) == 1


async def test_the_token_cannot_be_read_in_the_cookie(client: Client) -> None:
    header, _ = await set_cookie(client, "SECRET-TOKEN")
    assert "SECRET-TOKEN" not in header


@pytest.mark.parametrize("secure", [True, False])
async def test_the_cookie_is_secure_when_the_client_came_over_https(
    door: Door, secure: bool
) -> None:
    client = await door.open(KEY, secure=lambda _request: secure)
    _, cookie = await set_cookie(client)
    assert bool(cookie["secure"]) is secure


async def test_forgetting_removes_the_cookie(client: Client) -> None:
    await client.post("/token", data="kept")
    async with client.delete("/token") as answer:
        assert (
            http.cookies.SimpleCookie(answer.headers["Set-Cookie"])[COOKIE_NAME]["max-age"] == "0"
        )
    assert await token_of(client) is None


async def cookie_header(client: Client, suffix: str = "") -> dict[str, str]:
    _, cookie = await set_cookie(client)
    client.session.cookie_jar.clear()
    return {"Cookie": f"{COOKIE_NAME}={cookie.value}{suffix}"}


async def test_a_copied_cookie_value_works_as_a_plain_header(client: Client) -> None:
    assert await token_of(client, await cookie_header(client)) == ["kept", "cookie"]


async def test_padding_that_a_client_adds_does_no_harm(client: Client) -> None:
    assert await token_of(client, await cookie_header(client, "==")) == ["kept", "cookie"]


async def test_a_cookie_of_an_older_key_counts_and_a_new_one_is_of_the_first(door: Door) -> None:
    new_key = Fernet.generate_key()
    old = await door.open(KEY, secure=lambda _request: False)
    both = await door.open(new_key, KEY, secure=lambda _request: False)
    new = await door.open(new_key, secure=lambda _request: False)
    old_cookie, new_cookie = await cookie_header(old), await cookie_header(both)
    assert await token_of(both, old_cookie) == ["kept", "cookie"]
    assert await token_of(new, new_cookie) == ["kept", "cookie"]
    assert await token_of(new, old_cookie) is None


@pytest.mark.parametrize("value", ["", "garbage", "gAAAAA", "%00", "é", '"', "=" * 50, "A" * 4000])
async def test_a_cookie_that_cannot_be_decrypted_is_absent_and_no_warning(
    client: Client, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.clear()
    assert await token_of(client, {"Cookie": f"{COOKIE_NAME}={value}"}) is None
    warned = [record for record in caplog.records if record.name != "aiohttp.access"]
    assert warned == []


async def test_a_wrong_token_never_falls_back_to_the_cookie(
    house: House, aiohttp_client: AiohttpClient
) -> None:
    await house.user()
    token = (await house.sign_in()).token

    async def who(request: web.Request) -> web.Response:
        if request.method == "POST":
            await remember(request, token)
            return web.Response()
        try:
            identity = await identify(request, house.sessions, "absent")
        except Problem as problem:
            return web.Response(status=problem.status)
        return web.Response(text=identity.via)

    app = web.Application()
    aiohttp_session.setup(app, cookie_storage([KEY], lambda _request: False, 3600))
    app.router.add_route("*", "/", who)
    client = await aiohttp_client(app)

    async def status(**headers: str) -> tuple[int, str]:
        async with client.get("/", headers=headers) as answer:
            return answer.status, await answer.text()

    assert (await status())[0] == 401
    await client.post("/")
    assert await status() == (200, "cookie")
    assert await status(Authorization=f"Bearer {token}") == (200, "header")
    for wrong in ("wrong", "Bearer wrong", "Bearer", "a.b.c"):
        assert (await status(Authorization=wrong))[0] == 401


async def test_a_request_without_a_token_asks_neither_session_nor_database(house: House) -> None:
    request = make_mocked_request("GET", "/")
    with statements(house.database) as asked, pytest.raises(Problem) as caught:
        await identify(request, house.sessions, "absent")
    assert (caught.value.status, asked.seen) == (401, [])
