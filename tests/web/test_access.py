"""What requests leave in the log, and what becomes of those that are not HTTP."""

import asyncio
import logging

import pytest
import uvloop
from aiohttp import web
from log_output import logging_to_memory
from serving import PATIENCE

from app.web.access import MAX_FIELD_BYTES, REQUEST_LINES, ServerLogger, server_log
from tests.web.api import Api, Start

EVIL = "SECRET-BYTES"

MALFORMED = [
    pytest.param(f"{EVIL}\r\n\r\n", id="no request line"),
    pytest.param(f"GET /{EVIL}\x01 HTTP/1.1\r\nHost: x\r\n\r\n", id="control character in path"),
    pytest.param(f"GET / HTTP/1.1\r\n{EVIL} bad: x\r\n\r\n", id="bad header name"),
    pytest.param(f"GET / HTTP/1.1\r\nHost: x\r\nX: {EVIL}\x00\r\n\r\n", id="bad header value"),
    pytest.param(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {EVIL}\r\n\r\n", id="bad length"),
    pytest.param(f"\x16\x03\x01\x02{EVIL}\r\n\r\n", id="TLS on a plain port"),
]


def with_fields(*lines: str) -> str:
    return "\r\n".join(("GET /v1/auth/session HTTP/1.1", "Host: x", *lines, "", ""))


TOO_LARGE = [
    pytest.param(
        f"GET /{EVIL * 1000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long", id="long path"
    ),
    pytest.param(
        f"GET /?q={EVIL * 1000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri_too_long", id="long query"
    ),
    pytest.param(with_fields(f"X: {EVIL * 1500}"), 431, "headers_too_large", id="long value"),
    pytest.param(with_fields(f"{EVIL * 1500}: x"), 431, "headers_too_large", id="long name"),
    pytest.param(
        with_fields(f"Cookie: a={EVIL * 1500}"), 431, "headers_too_large", id="long cookies"
    ),
    pytest.param(
        with_fields(f"Authorization: /{EVIL * 1500}"), 431, "headers_too_large", id="slash in value"
    ),
    pytest.param(
        with_fields(*(f"{EVIL}{number}: x" for number in range(200))),
        431,
        "headers_too_large",
        id="many fields",
    ),
]


async def raw(api: Api, text: str) -> str:
    """Return what the server answers to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    writer.write(text.encode("latin-1"))
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return answer.decode("latin-1")


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        *(pytest.param(*one.values, 400, "malformed_request", id=str(one.id)) for one in MALFORMED),
        *TOO_LARGE,
    ],
)
async def test_a_malformed_request_costs_one_line_and_gets_none_of_its_bytes_back(
    api: Api, caplog: pytest.LogCaptureFixture, text: str, status: int, code: str
) -> None:
    with caplog.at_level(logging.INFO):
        answer = await raw(api, text)
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith((f"HTTP/1.0 {status}", f"HTTP/1.1 {status}"))
    assert "application/problem+json" in head
    assert "Server: Switchboard" in head
    assert f'"code":"{code}"' in body
    assert EVIL not in answer
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage() == "malformed request"
    assert caplog.records[0].exc_info is None
    assert EVIL not in str(caplog.records[0].__dict__)
    assert caplog.records[0].__dict__["fields"]["address"] == "127.0.0.1"


async def test_other_programs_cookies_of_16_kb_lock_nobody_out(api: Api) -> None:
    cookies = f"other={'x' * (MAX_FIELD_BYTES - 100)}"
    answer = await api.http.get("/v1/auth/session", headers={"Cookie": cookies})
    assert (await answer.json())["code"] == "unauthorized"


@pytest.mark.parametrize("path", ["/v1/auth/login", "/nothing", "/health"])
async def test_a_broken_body_costs_no_traceback_and_is_not_echoed(
    api: Api, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.INFO):
        answer = await raw(
            api,
            f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: application/json\r\n\r\n{EVIL}\r\n{EVIL}\r\n\r\n",
        )
    assert answer.startswith(("HTTP/1.1 4", "HTTP/1.0 4"))
    assert EVIL not in answer
    assert EVIL not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
    assert 1 <= len(caplog.records) <= 2


async def test_a_body_that_breaks_after_its_answer_costs_no_traceback_either(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 404")
        writer.write(f"{EVIL}\r\n{EVIL}\r\n\r\n".encode())
        assert EVIL.encode() not in await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert EVIL not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
    assert 1 <= len(caplog.records) <= 2


def test_a_broken_body_that_aiohttp_reports_as_its_own_failure_is_one_short_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The parser in C never gets here, the one in Python does.
    error = web.RequestPayloadError(EVIL)
    ServerLogger(server_log, {}).exception("Unhandled exception", exc_info=error)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert EVIL not in str(record.__dict__)


def test_a_failure_of_the_server_itself_keeps_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ServerLogger(server_log, {}).exception("Unhandled exception", exc_info=OSError("disk"))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


def test_an_answer_that_uvloop_cannot_write_any_more_costs_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fault() -> RuntimeError:
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        lost = loop.create_future()

        class Peer(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                loop.call_soon(lost.set_result, None)

        port = listener.sockets[0].getsockname()[1]
        transport, _ = await loop.create_connection(Peer, "127.0.0.1", port)
        transport.abort()
        await lost
        with pytest.raises(RuntimeError) as raised:
            transport.write(b"an answer")
        listener.close()
        return raised.value

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        error = runner.run(fault())
    with caplog.at_level(logging.INFO):
        ServerLogger(server_log, {}).exception("Unhandled exception", exc_info=error)
    assert not caplog.records


async def test_a_request_leaves_one_line_without_its_query(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await api.http.get("/v1/devices?token=secret", headers={"Authorization": "secret"})
    (record,) = caplog.records
    seen = record.__dict__["fields"]
    assert record.levelno == logging.INFO
    assert (seen["method"], seen["path"], seen["status"]) == ("GET", "/v1/devices", 401)
    assert seen["address"] == "127.0.0.1"
    assert seen["ms"] >= 0
    assert "secret" not in str(record.__dict__)


async def test_a_path_cannot_begin_a_line_of_its_own_nor_fill_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await api.http.get("/a%0Aadmin%20signed%20in" + "x" * 4000)
    (record,) = caplog.records
    path = record.__dict__["fields"]["path"]
    assert "\n" not in path
    assert len(path) <= 200


async def test_the_logged_address_is_the_one_behind_a_trusted_proxy(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    with caplog.at_level(logging.INFO):
        caplog.clear()
        await api.http.get("/", headers={"X-Forwarded-For": "203.0.113.7"})
    (record,) = caplog.records
    assert record.__dict__["fields"]["address"] == "203.0.113.7"


async def test_who_hangs_up_in_the_middle_of_a_body_is_still_named(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    logged = asyncio.Event()

    class Waiter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.set()

    log = logging.getLogger("app.web.access")
    waiter = Waiter()
    log.addHandler(waiter)
    try:
        with caplog.at_level(logging.INFO):
            _reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
            writer.write(
                b"POST /v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            await writer.drain()
            writer.transport.abort()
            await asyncio.wait_for(logged.wait(), PATIENCE)
    finally:
        log.removeHandler(waiter)
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.__dict__["fields"]["address"] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_probes_are_logged_at_debug_only(
    api: Api, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger="app.web.access"):
        await api.http.get(path)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_sockets_and_refused_upgrades_leave_no_request_line(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await api.sign_in()
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        socket = await api.connect(ada.by_header)
        await socket.close()
        await api.http.get("/v1/ws", headers={"Authorization": "dead"})
        await api.http.get("/nothing")
    lines = [record for record in caplog.records if record.name == "app.web.access"]
    assert [record.__dict__["fields"]["path"] for record in lines] == ["/nothing"]


async def test_whoever_asks_again_and_again_writes_some_lines_and_a_count(api: Api) -> None:
    with logging_to_memory() as output:
        for _ in range(REQUEST_LINES + 100):
            await api.http.get("/nothing")
        output.close()
        lines = [one for one in output.lines if one["message"] == "request"]
    assert len(lines) >= REQUEST_LINES
    assert len(lines) + sum(one.get("suppressed", 1) - 1 for one in lines) == REQUEST_LINES + 100
    assert any("suppressed" in one for one in lines)
