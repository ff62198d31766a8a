"""From a request to an identity."""

import aiohttp_session
import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import make_mocked_request

from app.auth.peer import OriginVerdict
from app.base.errors import Problem
from app.requests.cookies import cookie_storage, remember
from app.requests.identity import identify
from tests.auth.house import House, statements
from tests.requests.door import KEY, Client, Door, token_of

UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


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
