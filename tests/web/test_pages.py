"""The web app and the client library as browsers load them."""

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import ClientResponse

from app.base.errors import SettingsError
from app.web import assets, pages
from app.web.pages import Pages
from tests.web.api import Api, Start, problem

INDEX = '<!doctype html><script type="module" src="/assets/index-1a2b.js"></script>'
SCRIPT = "export const answer = 42; // long enough to be worth packing\n" * 20
PAGE_LOAD = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as the build leaves it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets/index-1a2b.js").write_text(SCRIPT)
    (folder / "assets/font-3c4d.woff2").write_bytes(bytes(2000))
    (folder / ".secret.txt").write_text("hush")
    (folder / "notes.bak").write_text("hush")
    (tmp_path / "outside.txt").write_text("hush")
    return folder


@pytest.fixture
async def api(start: Start, built: Path) -> Api:
    return await start(web_app=str(built))


async def get(api: Api, path: str, headers: Mapping[str, str] | None = None) -> ClientResponse:
    """Ask for a path, take no coding but one that `headers` name, and unpack nothing."""
    return await api.http.get(
        path, headers={"Accept-Encoding": "identity", **(headers or {})}, auto_decompress=False
    )


@pytest.mark.parametrize("path", ["/", "/playground", "/admin/users", "/no/such/page"])
async def test_every_page_load_gets_the_app_with_its_policy(api: Api, path: str) -> None:
    response = await get(api, path, PAGE_LOAD)
    assert (response.status, response.content_type) == (200, "text/html")
    assert await response.text() == INDEX
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'"} <= set(policy)
    assert {"base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in str(policy)


async def test_a_program_that_asks_for_an_unknown_path_gets_no_page(api: Api) -> None:
    assert (await problem(await get(api, "/playground")))["code"] == "not_found"
    assert (await get(api, "/")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/nothing",
        "/health/x",
        "/client",
        "/client/none",
        "/assets/none",
        "/assets/none.js",
        "/none.html",
        "/index.html",
        "/.secret.txt",
        "/notes.bak",
    ],
)
async def test_what_is_no_page_and_no_file_of_the_app_is_not_found(api: Api, path: str) -> None:
    response = await get(api, path, PAGE_LOAD)
    assert response.status == 404
    assert (await problem(response))["code"] == "not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/assets/../../outside.txt",
        "/assets/..%2f..%2foutside.txt",
        "/client/..%2fpackage.json",
        "/client/../package.json",
        "//etc/hostname.txt",
        "/%00.txt",
    ],
)
async def test_no_path_leads_out_of_the_folder(api: Api, path: str) -> None:
    # The usual client would tidy these paths up before it sends them.
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
    assert b"hush" not in answer


async def test_hashed_files_are_kept_for_ever_and_others_asked_for_again(api: Api) -> None:
    script = await get(api, "/assets/index-1a2b.js")
    assert (script.status, script.content_type) == (200, "text/javascript")
    assert await script.text() == SCRIPT
    assert "immutable" in script.headers["Cache-Control"]
    icon = await get(api, "/favicon.svg")
    assert icon.content_type == "image/svg+xml"
    assert icon.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/favicon.svg", "/assets/index-1a2b.js"])
@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_browser_that_has_the_file_is_told_so(api: Api, path: str, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    tag = (await get(api, path, headers)).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await get(api, path, {**headers, "If-None-Match": known})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == tag
    assert (await get(api, path, {**headers, "If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize("accepted", ["gzip", "br, GZIP;q=0.5", "gzip; q=1.0"])
async def test_text_goes_out_packed_to_those_who_take_it(api: Api, accepted: str) -> None:
    response = await get(api, "/assets/index-1a2b.js", {"Accept-Encoding": accepted})
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Vary"] == "Accept-Encoding"
    body = await response.read()
    assert len(body) == int(response.headers["Content-Length"]) < len(SCRIPT)
    assert gzip.decompress(body).decode() == SCRIPT


@pytest.mark.parametrize("refused", ["", "identity", "gzip;q=0", "gzip; q=0.0", "br"])
async def test_nothing_is_packed_for_those_who_do_not_take_it(api: Api, refused: str) -> None:
    response = await get(api, "/assets/index-1a2b.js", {"Accept-Encoding": refused})
    assert "Content-Encoding" not in response.headers
    assert response.headers["Vary"] == "Accept-Encoding"
    assert await response.text() == SCRIPT


async def test_what_is_packed_already_is_not_packed_again(api: Api) -> None:
    response = await get(api, "/assets/font-3c4d.woff2", {"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers
    assert len(await response.read()) == 2000


async def test_the_two_forms_of_a_file_have_tags_of_their_own(api: Api) -> None:
    tags = {
        (await get(api, "/assets/index-1a2b.js", {"Accept-Encoding": coding})).headers["ETag"]
        for coding in ("identity", "gzip")
    }
    assert len(tags) == 2


async def test_head_tells_the_length_and_sends_nothing(api: Api) -> None:
    for path in ("/", "/playground", "/assets/index-1a2b.js"):
        response = await api.http.head(path, headers={**PAGE_LOAD, "Accept-Encoding": "identity"})
        assert response.status == 200
        assert int(response.headers["Content-Length"]) == len(
            await (await get(api, path, PAGE_LOAD)).read()
        )


async def test_a_file_is_only_read(api: Api) -> None:
    response = await api.http.post("/assets/index-1a2b.js")
    assert (await problem(response))["code"] == "method_not_allowed"
    assert response.headers["Allow"] == "GET,HEAD"
    assert (await api.http.post("/playground", headers=PAGE_LOAD)).status == 404


async def test_pages_of_every_origin_may_load_the_client_library(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "FRONTEND", tmp_path)
    (tmp_path / "client").mkdir()
    (tmp_path / "client/index.js").write_text(SCRIPT)
    (tmp_path / "client/tsconfig.json").write_text("{}")
    api = await start(web_app="off")
    response = await get(api, "/client/index.js", {"Origin": "https://elsewhere.example"})
    assert (response.status, response.content_type) == (200, "text/javascript")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "no-cache"
    assert await response.text() == SCRIPT
    assert (await get(api, "/client/tsconfig.json")).status == 404


async def test_files_of_the_app_are_for_its_own_pages(api: Api) -> None:
    response = await get(api, "/assets/index-1a2b.js", {"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_folder_that_is_named_must_hold_a_built_app(built: Path, tmp_path: Path) -> None:
    assert Pages.load(str(built)).index is not None
    with pytest.raises(SettingsError, match=r"web_app: .* has no index\.html"):
        Pages.load(str(tmp_path))


def test_a_folder_too_large_to_be_the_app_is_not_read(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "MAX_BYTES", 1000)
    with pytest.raises(SettingsError, match="too large to be the built app"):
        Pages.load(str(built))
