"""Pages, and the header that keeps browsers at https, on a server that speaks TLS itself."""

import aiohttp
import pytest
from serving import PASSWORD, Server
from websockets.exceptions import InvalidStatus


async def test_a_page_of_http_may_not_connect_to_a_server_of_https(serve) -> None:
    server = await serve()
    phone = await server.device()
    for origin in (f"http://{server.host}", f"HTTP://{server.host}", f"ws://{server.host}"):
        with pytest.raises(InvalidStatus) as refused:
            await server.open(phone, headers={"Origin": origin})
        assert refused.value.response.status_code == 403
    peer = await server.open(phone, headers={"Origin": f"https://{server.host}"})
    assert (await peer.receive())["type"] == "connected"


async def test_the_cookie_does_not_count_for_a_page_of_http(serve) -> None:
    server = await serve()
    await server.user("ada")
    form = {"user_handle": "ada", "password": PASSWORD}
    device = {"device_uuid": "browser-1", "device_type": "web"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        url = f"https://{server.host}/v1/auth/"
        tls = {"ssl": server.client_tls}
        async with session.post(f"{url}login", json={**form, **device}, **tls) as response:
            cookie = {"Cookie": f"session_token={response.cookies['session_token'].value}"}
        for scheme, status in (("http", 401), ("https", 200)):
            headers = {**cookie, "Origin": f"{scheme}://{server.host}"}
            async with session.get(f"{url}session", headers=headers, **tls) as response:
                assert response.status == status


async def hsts(server: Server, path: str = "/health") -> str | None:
    scheme = "https" if server.client_tls else "http"
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{scheme}://{server.host}{path}", ssl=server.client_tls or True) as response,
    ):
        return response.headers.get("Strict-Transport-Security")


async def test_browsers_are_kept_at_https_only_if_the_operator_says_so(serve) -> None:
    assert await hsts(await serve()) is None


@pytest.mark.parametrize("seconds", [0, 31_536_000])
@pytest.mark.parametrize("path", ["/health", "/v1/auth/session", "/nowhere"])
async def test_every_answer_keeps_browsers_at_https_for_as_long(
    serve, seconds: int, path: str
) -> None:
    assert await hsts(await serve(hsts_seconds=seconds), path) == f"max-age={seconds}"


@pytest.mark.parametrize("serve", ["plain"], indirect=True)
async def test_over_plain_http_there_is_no_such_header(serve) -> None:
    assert await hsts(await serve(hsts_seconds=31_536_000)) is None
