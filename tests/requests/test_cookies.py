"""The session cookie: encrypted, out of reach, and worth nothing but its token."""

import http.cookies
import json
import logging
import stat
import time
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from app.auth.peer import OriginVerdict
from app.base.errors import SettingsError
from app.requests.cookies import COOKIE_NAME, SESSION_FIELD, load_fernet_keys
from app.settings import Settings
from tests.requests.door import KEY, Client, Door, token_of


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


@pytest.mark.parametrize("days", [-4000, -400, 40, 400])
async def test_a_cookie_made_while_the_clock_was_wrong_counts(client: Client, days: int) -> None:
    made_at = int(time.time()) + days * 86_400
    content = json.dumps({"created": made_at, "session": {SESSION_FIELD: "kept"}})
    cookie = Fernet(KEY).encrypt_at_time(content.encode(), made_at).decode()
    assert await token_of(client, {"Cookie": f"{COOKIE_NAME}={cookie}"}) == ["kept", "cookie"]


async def test_how_long_a_browser_keeps_the_cookie_does_not_go_by_our_clock(
    client: Client,
) -> None:
    _, cookie = await set_cookie(client)
    assert (cookie["max-age"], cookie["expires"]) == ("3600", "")


@pytest.mark.parametrize("value", ["", "garbage", "gAAAAA", "%00", "é", '"', "=" * 50, "A" * 4000])
async def test_a_cookie_that_cannot_be_decrypted_is_absent_and_no_warning(
    client: Client, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    caplog.set_level(logging.INFO)
    caplog.clear()
    assert await token_of(client, {"Cookie": f"{COOKIE_NAME}={value}"}) is None
    warned = [record for record in caplog.records if record.name != "aiohttp.access"]
    assert warned == []


# JWTs


@pytest.fixture
async def outside(door: Door) -> Client:
    """A server that takes JWTs."""
    return await door.open(KEY, secure=lambda _request: False, takes_jwts=True)


@pytest.mark.parametrize(
    "header", ["{}=a.b.c", '{}="a.b.c"', "x=1; {}=a.b.c; y=2", "{0}=1; {0}=a.b.c"]
)
async def test_a_jwt_may_stand_in_the_cookie(outside: Client, header: str) -> None:
    assert await token_of(outside, {"Cookie": header.format(COOKIE_NAME)}) == ["a.b.c", "cookie"]


async def test_our_own_cookie_counts_as_before_where_jwts_are_taken(
    outside: Client, door: Door
) -> None:
    own = await cookie_header(outside)
    for _ in range(2):
        assert await token_of(outside, own) == ["kept", "cookie"]
    assert len(door.storage.tokens) == 1
    assert await token_of(outside, {"Cookie": f"{COOKIE_NAME}=garbage"}) is None


async def test_a_jwt_in_the_cookie_is_nothing_where_jwts_are_not_taken(client: Client) -> None:
    assert await token_of(client, {"Cookie": f"{COOKIE_NAME}=a.b.c"}) is None


@pytest.mark.parametrize("verdict", ["allowed", "refused"])
async def test_a_jwt_in_the_cookie_counts_for_no_foreign_page(
    outside: Client, door: Door, verdict: OriginVerdict
) -> None:
    door.verdict = verdict
    assert await token_of(outside, {"Cookie": f"{COOKIE_NAME}=a.b.c"}) is None


async def test_forgetting_removes_a_jwt_from_the_cookie(outside: Client) -> None:
    headers = {"Cookie": f"{COOKIE_NAME}=a.b.c"}
    async with outside.delete("/token", headers=headers) as answer:
        cookie = http.cookies.SimpleCookie(answer.headers["Set-Cookie"])[COOKIE_NAME]
    assert (cookie.value, cookie["max-age"], cookie["path"]) == ("", "0", "/")


# Keys


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    keys = load_fernet_keys(Settings(), tmp_path / "data")
    assert len(keys) == 1
    assert load_fernet_keys(Settings(), tmp_path / "data") == keys
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["cookie.key"]


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    load_fernet_keys(Settings(), tmp_path)
    assert stat.S_IMODE((tmp_path / "cookie.key").stat().st_mode) == 0o600


def test_two_folders_have_two_keys(tmp_path: Path) -> None:
    assert load_fernet_keys(Settings(), tmp_path / "a") != load_fernet_keys(
        Settings(), tmp_path / "b"
    )


def test_given_keys_win_and_no_file_is_made(tmp_path: Path) -> None:
    given = [Fernet.generate_key().decode() for _ in range(2)]
    settings = Settings(cookie_keys=",".join(given))
    assert load_fernet_keys(settings, tmp_path) == [key.encode() for key in given]
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_hold_older_keys_below_the_first(tmp_path: Path) -> None:
    keys = [Fernet.generate_key() for _ in range(2)]
    (tmp_path / "cookie.key").write_bytes(b"\n".join(keys) + b"\n")
    assert load_fernet_keys(Settings(), tmp_path) == keys


@pytest.mark.parametrize("content", ["", "short", "é" * 44, "x" * 45])
def test_what_is_no_key_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "cookie.key").write_text(content)
    with pytest.raises(SettingsError) as caught:
        load_fernet_keys(Settings(), tmp_path)
    assert "cookie.key" in str(caught.value)
    assert not content or content not in str(caught.value)
