"""What `/metrics` shows of what has happened."""

import asyncio
import platform
from contextlib import suppress
from functools import partial

import pytest
from serving import PATIENCE

from app.base.version import VERSION
from app.keys import DATABASE, METRICS, READINESS
from app.protocol.close import CLOSES
from app.storage.schema import meta
from tests.scrape import Scrape
from tests.web.api import Api, Start


async def scrape(api: Api) -> Scrape:
    response = await api.http.get("/metrics")
    assert response.status == 200
    return Scrape.read(await response.text())


async def test_it_names_what_runs(api: Api) -> None:
    labels = {"version": VERSION, "python": platform.python_version()}
    assert (await scrape(api)).value("build_info", **labels) == 1


async def test_it_is_ready_exactly_while_ready_says_so(api: Api) -> None:
    assert (await scrape(api)).value("ready") == 1
    database = api.app[DATABASE]
    database.faults.report(OSError("full"), writing=True)
    assert (await api.http.get("/ready")).status == 503
    assert (await scrape(api)).value("ready") == 0
    async with database.write() as connection:
        await connection.execute(meta.update().values(value=meta.c.value))
    assert (await scrape(api)).value("ready") == 1
    api.app[READINESS].draining = True
    assert (await scrape(api)).value("ready") == 0


async def test_the_first_one_of_a_kind_has_a_zero_before_it(api: Api) -> None:
    found = await scrape(api)
    for name, label, some in (
        ("connections_closed", "code", {str(one.code) for one in CLOSES} | {"1005", "other"}),
        ("connections_refused", "reason", {"overloaded", "unauthorized", "rate_limited"}),
        ("sockets_closed", "reason", {"late", "slow", "replaced", "overloaded"}),
        ("accept_failures", "reason", {"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "other"}),
        ("appends_refused", "code", {"forbidden", "too_many_ids"}),
        ("resumes", "outcome", {"resumed", "live", "reset"}),
        ("resets", "reason", {"removed", "foreign"}),
        ("sign_ins_failed", "reason", {"invalid_credentials", "too_many_attempts"}),
        ("storage_errors", "reason", {"SQLITE_FULL", "system"}),
        ("removed", "kind", {"messages", "sessions", "devices"}),
        ("limited", "limit", {"messages", "writes"}),
    ):
        values = found.values(f"{name}_total", label)
        assert some <= values.keys(), name
        assert set(values.values()) == {0}, name


async def test_sign_ins_count_by_why_they_fail(start: Start) -> None:
    api = await start(login_attempts=2)
    await api.sign_in()
    for given in (
        {"password": "wrong"},
        {"user_handle": "nobody"},
        {"device_uuid": "x"},
    ):
        assert (await api.login(**given)).status in (400, 401)
    for _ in range(3):
        await api.login(user_handle="eve", password="wrong")
    found = await scrape(api)
    failed = found.values("sign_ins_failed_total", "reason")
    assert found.value("sign_ins_total") == 1
    assert failed["invalid_device"] == 1
    assert failed["invalid_credentials"] >= 2
    assert failed["too_many_attempts"] >= 1
    assert failed["other"] == 0


ANSWERS = [
    ("GET", "/v1/auth/session", "sessions", "4xx"),
    ("GET", "/v1/devices", "devices", "4xx"),
    ("DELETE", "/v1/devices/17", "devices", "4xx"),
    ("POST", "/v1/messages", "backend", "4xx"),
    ("GET", "/v1/admin/users", "administration", "4xx"),
    ("GET", "/health", "server", "2xx"),
    ("HEAD", "/health", "server", "2xx"),
    ("GET", "/v1/ws", "websocket", "4xx"),
    ("GET", "/v1/nowhere", "other", "4xx"),
    ("GET", "/nowhere/else", "other", "4xx"),
]


@pytest.mark.parametrize(("method", "path", "family", "status"), ANSWERS)
async def test_answers_count_by_the_family_of_their_route(
    api: Api, method: str, path: str, family: str, status: str
) -> None:
    await (await api.http.request(method, path)).read()
    found = await until_counted(api, family, status)
    timed = found.value("http_answer_seconds_count", family=family)
    assert timed == (0 if family == "websocket" else 1)


async def test_what_is_no_http_counts_as_unreadable(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
    writer.write(b"GET / HTTP/1.1\r\nbad header: x\r\n\r\n")
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await until_counted(api, "unreadable", "4xx")


async def until_counted(api: Api, family: str, status: str) -> Scrape:
    """Return a scrape in which one such answer counts: it does when it has been written."""
    labels = {"family": family, "class": status}
    count = partial(
        api.app[METRICS].registry.get_sample_value, "switchboard_http_answers_total", labels
    )
    async with asyncio.timeout(PATIENCE):
        while not count():  # noqa: ASYNC110 (nothing announces it)
            await asyncio.sleep(0.001)
    found = Scrape.read(await (await api.http.get("/metrics")).text())
    assert found.value("http_answers_total", **labels) == 1
    return found


async def test_connections_count_by_what_came_of_their_position(api: Api) -> None:
    signed_in = await api.sign_in()
    for query in ("", "?resume=live", "?epoch=of-another-server&offset=7"):
        socket = await api.http.ws_connect(f"/v1/ws{query}", headers=signed_in.by_header)
        await socket.receive_json(timeout=PATIENCE)
        await socket.close()
    found = await scrape(api)
    assert found.values("resumes_total", "outcome") == {"resumed": 0, "live": 2, "reset": 1}
    assert found.values("resets_total", "reason") == {"removed": 0, "foreign": 1}
