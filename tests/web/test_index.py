"""The page at `/` where there is no web app."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from app.web import pages
from tests.web.api import Api, Start


@pytest.fixture
async def api(start: Start) -> Api:
    """A server whose web app is switched off."""
    return await start(web_app="off")


async def test_the_page_says_where_the_socket_is_and_how_to_sign_in(api: Api) -> None:
    response = await api.http.get("/")
    text = await response.text()
    assert response.status == 200
    assert response.content_type == "text/html"
    assert f"ws://127.0.0.1:{api.http.port}/v1/ws" in text
    assert "/v1/auth/login" in text
    assert "docs/protocol.md" in text


async def test_the_page_loads_nothing_and_its_style_is_the_one_allowed(api: Api) -> None:
    response = await api.http.get("/")
    text = await response.text()
    policy = response.headers["Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"src=|href=|url\(|@import|<script", text)


async def test_behind_a_tls_proxy_the_socket_is_wss(start: Start) -> None:
    api = await start(web_app="off", trusted_proxies="127.0.0.1")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "box.example"}
    text = await (await api.http.get("/", headers=headers)).text()
    assert "wss://box.example/v1/ws" in text


async def test_a_host_that_is_none_gets_into_no_page(api: Api) -> None:
    text = await (await api.http.get("/", headers={"Host": "<b>x</b>"})).text()
    assert "<b>" not in text
    assert "&lt;b" not in text
    assert "/v1/ws" in text


async def test_the_page_says_how_to_build_the_app_where_it_is_missing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FRONTEND", tmp_path)
    api = await start(web_app="auto")
    text = await (await api.http.get("/")).text()
    assert "./scripts/build" in text
    assert "Node" in text
    assert (await api.http.get("/playground", headers={"Accept": "text/html"})).status == 404


async def test_the_page_says_nothing_of_an_app_that_is_switched_off(api: Api) -> None:
    assert "scripts/build" not in await (await api.http.get("/")).text()
