"""Pages and a server that speaks TLS itself."""

import aiohttp
import pytest
from serving import PASSWORD
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
