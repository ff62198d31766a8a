"""Header fields on several lines, and bytes that are no UTF-8."""

import asyncio
import socket
import struct
from collections.abc import Sequence

import orjson
import pytest
from serving import PATIENCE

from tests.web.api import Api
from tests.web.backend import Shop, shop

NOTE = b'{"to":{"user":"ada"},"type":"note.text","store":"log"}'
JSON = b"Content-Type: application/json"
LATIN_1 = b"caf\xe9"


class Raw:
    """Sends bytes as they are."""

    def __init__(self, api: Api, key: str = "") -> None:
        self._port = api.http.port
        self._key = key.encode()

    async def __call__(
        self, start: bytes, *fields: bytes, body: bytes = b"", credentials: bool = True
    ) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        lines = [start + b" HTTP/1.1", b"Host: 127.0.0.1:%d" % (self._port or 0), *fields]
        if credentials and self._key:
            lines.append(b"Authorization: Bearer " + self._key)
        if body:
            lines.append(b"Content-Length: %d" % len(body))
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"\r\n".join((*lines, b"Connection: close", b"", body)))
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content

    async def refused(self, start: bytes, *fields: bytes, body: bytes = b"") -> tuple[int, str]:
        """Return the status and the code of a refusal."""
        status, content = await self(start, *fields, body=body)
        return status, str(orjson.loads(content)["code"])


@pytest.fixture
async def sender(api: Api) -> Shop:
    return await shop(api, "send", "read", "admin")


@pytest.fixture
def raw(api: Api, sender: Shop) -> Raw:
    return Raw(api, sender.key)


@pytest.mark.parametrize("key", [LATIN_1, b'"' + LATIN_1 + b'"', b"\xff" * 20, b"a\xed\xa0\x80"])
async def test_an_idempotency_key_that_is_not_utf8_is_refused_and_stores_nothing(
    raw: Raw, sender: Shop, key: bytes
) -> None:
    before = (await sender.send({"user": "ada"}, store="log"))["offset"]
    refused = await raw.refused(b"POST /v1/messages", JSON, b"Idempotency-Key: " + key, body=NOTE)
    assert refused == (400, "invalid_message")
    assert (await sender.send({"user": "ada"}, store="log"))["offset"] == before + 1


async def test_an_idempotency_key_in_utf8_is_any_text(raw: Raw) -> None:
    field = "Idempotency-Key: café".encode()
    first, again = [await raw(b"POST /v1/messages", JSON, field, body=NOTE) for _ in range(2)]
    assert (first[0], again[0]) == (200, 200)
    assert orjson.loads(again[1])["duplicate"] is True


@pytest.mark.parametrize(
    "target",
    [
        b"/caf%E9",
        b"/v1/caf%E9",
        b"/v1/users?handle=%E9",
        b"/v1/users?handle=%ED%A0%80",
        b"/v1/users?iss=a&sub=%C3",
        b"/v1/admin/users?search=%ff",
        b"/assets/%E9.js",
    ],
)
async def test_a_path_or_a_query_that_is_not_utf8_is_refused(raw: Raw, target: bytes) -> None:
    assert await raw.refused(b"GET " + target) == (400, "malformed_request")


async def test_a_query_of_the_socket_that_is_not_utf8_is_refused(api: Api, sender: Shop) -> None:
    person = await api.sign_in()
    refused = await Raw(api, person.token).refused(
        b"GET /v1/ws?epoch=%E9&offset=1", *UPGRADE, b"Connection: Upgrade"
    )
    assert refused == (400, "malformed_request")


@pytest.mark.parametrize(
    "name",
    [
        *("Accept", "Accept-Encoding", "Cookie", "Expect", "Forwarded", "If-None-Match", "Origin"),
        *("Referer", "Sec-Fetch-Site", "Sec-WebSocket-Protocol", "User-Agent", "X-Forwarded-For"),
        *("Authorization", "Content-Type", "Content-Encoding", "X-Forwarded-Proto", "Range"),
    ],
)
@pytest.mark.parametrize("target", [b"GET /", b"GET /v1/auth/session", b"POST /v1/auth/logout"])
async def test_a_field_that_is_not_utf8_never_breaks_the_server(
    api: Api, name: str, target: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, _ = await Raw(api)(target, name.encode() + b": " + LATIN_1)
    assert status < 500
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("target", [b"POST /v1/messages", b"GET /nothing", b"GET /v1/ws"])
@pytest.mark.parametrize("expected", [b"miracles", LATIN_1, b"100-continue, miracles"])
async def test_an_unknown_expectation_is_a_problem(
    raw: Raw, target: bytes, expected: bytes
) -> None:
    refused = await raw.refused(target, b"Expect: " + expected)
    assert refused == (417, "expectation_failed")


async def test_an_unknown_expectation_on_a_second_line_is_a_problem(raw: Raw) -> None:
    lines = (b"Expect: 100-continue", b"Expect: miracles")
    assert await raw.refused(b"GET /v1/users", *lines) == (417, "expectation_failed")


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(raw: Raw) -> None:
    refused = await raw.refused(
        b"POST /v1/messages", b"Content-Type: application/json", b"Content-Length: 99999999"
    )
    assert refused == (413, "too_large")


async def test_a_client_that_leaves_before_100_continue_leaves_no_traceback(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    request = (
        b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
        b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    )
    for _ in range(8):
        with socket.create_connection((api.http.host, api.http.port or 0)) as client:
            client.send(request)
            # What closes with this sends a reset (SO_LINGER of no seconds).
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await api.http.get("/health")
    assert not [record for record in caplog.records if record.exc_info]


# Fields on several lines

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = b"Sec-WebSocket-Version: 13"
WEBSOCKET = b"Upgrade: websocket"
UPGRADE = (KEY, VERSION, WEBSOCKET)


@pytest.mark.parametrize(
    "upgrade",
    [
        (b"Upgrade: websocket, h2c",),
        (b"Upgrade: h2c,WebSocket",),
        (b"Upgrade: h2c", b"Upgrade: websocket"),
        (b"Upgrade: websocket", b"Upgrade: websocket"),
        (b"Upgrade: ,websocket ,",),
        (b"Upgrade: websocket, h2c", b"User-Agent: " + LATIN_1),
    ],
    ids=repr,
)
async def test_an_upgrade_may_offer_other_protocols_too(
    api: Api, sender: Shop, upgrade: Sequence[bytes]
) -> None:
    # The token among the subprotocols counts for an upgrade to WebSocket alone.
    token = (await api.sign_in()).token.encode()
    offered = b"Sec-WebSocket-Protocol: switchboard.v1, bearer." + token
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    host = b"Host: 127.0.0.1:%d" % (api.http.port or 0)
    fields = (host, offered, KEY, VERSION, *upgrade, b"Connection: Upgrade")
    writer.write(b"\r\n".join((b"GET /v1/ws HTTP/1.1", *fields, b"", b"")))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nupgrade: websocket\r\n" in head.lower()
    header = await asyncio.wait_for(reader.readexactly(2), PATIENCE)
    length = header[1]
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2))
    assert b'"connected"' in await asyncio.wait_for(reader.readexactly(length), PATIENCE)
    # A ping with a mask of zeros and its pong: what follows is read as frames, not as HTTP.
    writer.write(b"\x89\x82\0\0\0\0hi")
    assert await asyncio.wait_for(reader.readexactly(4), PATIENCE) == b"\x8a\x02hi"
    writer.close()


@pytest.mark.parametrize(
    "connection",
    [
        (b"Connection: keep-alive", b"Connection: Upgrade"),
        (b"Connection: Upgrade", b"Connection: keep-alive"),
        (b"connection: upgrade", b"Connection: TE"),
        (b"Connection: keep-alive, Upgrade",),
        (b"Connection: TE,,upgrade ,",),
    ],
    ids=repr,
)
async def test_an_upgrade_may_name_its_connection_options_on_several_lines(
    api: Api, sender: Shop, connection: Sequence[bytes]
) -> None:
    person = await api.sign_in()
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    host = b"Host: 127.0.0.1:%d" % (api.http.port or 0)
    token = b"Authorization: Bearer " + person.token.encode()
    lines = (b"GET /v1/ws HTTP/1.1", host, token, *UPGRADE, *connection, b"", b"")
    writer.write(b"\r\n".join(lines))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    assert head.startswith(b"HTTP/1.1 101 ")
    header = await asyncio.wait_for(reader.readexactly(2), PATIENCE)
    assert header[0] == 0x81
    writer.close()


@pytest.mark.parametrize(
    "fields",
    [
        (VERSION, WEBSOCKET, KEY, KEY),
        (VERSION, b"Sec-WebSocket-Version: 8", WEBSOCKET, KEY),
        (VERSION, b"Upgrade: h2c", KEY),
    ],
    ids=["two keys", "two versions", "another protocol"],
)
async def test_what_an_upgrade_has_only_once_is_refused_twice(
    raw: Raw, fields: Sequence[bytes]
) -> None:
    refused = await raw.refused(b"GET /v1/ws", *fields, b"Connection: Upgrade")
    assert refused == (426, "upgrade_required")


async def test_the_token_counts_on_a_line_behind_a_proxys(raw: Raw) -> None:
    status, _ = await raw(b"GET /v1/users?handle=ada", b"Authorization: Basic eDp5")
    assert status == 200


async def test_a_second_line_of_cookies_counts(api: Api) -> None:
    person = await api.sign_in()
    ours = f"Cookie: session_token={person.cookie}".encode()
    for fields in ((b"Cookie: a=b", ours), (ours, b"Cookie: a=b")):
        assert (await Raw(api)(b"GET /v1/auth/session", *fields))[0] == 200


async def test_others_cookies_in_any_encoding_beside_ours_lock_nobody_out(api: Api) -> None:
    person = await api.sign_in()
    ours = f"Cookie: session_token={person.cookie}".encode()
    status, _ = await Raw(api)(b"GET /v1/auth/session", b"Cookie: other=" + LATIN_1, ours)
    assert status == 200


async def test_a_key_that_is_not_utf8_is_refused_beside_fields_on_several_lines(raw: Raw) -> None:
    fields = (b"Accept: a/b", b"Accept: c/d", b"Idempotency-Key: " + LATIN_1)
    refused = await raw.refused(b"POST /v1/messages", JSON, *fields, body=NOTE)
    assert refused == (400, "malformed_request")


async def test_two_origins_are_none_of_ours(api: Api) -> None:
    person = await api.sign_in()
    ours = f"Origin: {api.origin}".encode()
    status, _ = await Raw(api)(
        b"POST /v1/auth/logout",
        f"Cookie: session_token={person.cookie}".encode(),
        ours,
        b"Origin: https://evil.example",
    )
    assert status == 403


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_site_that_is_foreign_on_any_line_is_foreign(
    api: Api, order: tuple[int, int]
) -> None:
    person = await api.sign_in()
    sites = (b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site")
    status, _ = await Raw(api)(
        b"POST /v1/auth/logout",
        f"Cookie: session_token={person.cookie}".encode(),
        *(sites[number] for number in order),
    )
    assert status == 403


async def test_a_body_that_is_compressed_by_any_line_is_refused(raw: Raw) -> None:
    encodings = (b"Content-Encoding: identity", b"Content-Encoding: gzip")
    refused = await raw.refused(b"POST /v1/messages", JSON, *encodings, body=NOTE)
    assert refused == (415, "unsupported_media_type")


async def test_two_idempotency_keys_are_refused(raw: Raw) -> None:
    keys = (b"Idempotency-Key: a", b"Idempotency-Key: b")
    refused = await raw.refused(b"POST /v1/messages", JSON, *keys, body=NOTE)
    assert refused == (400, "invalid_body")
