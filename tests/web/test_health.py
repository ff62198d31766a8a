"""/health, /ready and /metrics."""

import pytest

from app.keys import READINESS, STREAMS
from tests.web.api import Api, Start, problem

TOKEN = "metrics-token-of-the-operator"


async def test_a_serving_server_is_healthy_and_ready(api: Api) -> None:
    for path in ("/health", "/ready"):
        response = await api.http.get(path)
        assert response.status == 200
        assert (await response.json())["status"]


async def test_a_stopping_server_is_alive_but_not_ready(api: Api) -> None:
    api.app[READINESS].draining = True
    assert (await api.http.get("/health")).status == 200
    response = await api.http.get("/ready")
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert (await problem(response))["code"] == "draining"


async def test_a_server_with_a_damaged_database_is_alive_but_not_ready(api: Api) -> None:
    api.app[STREAMS].suspicions.damage = "Page 7 is never used"
    assert (await api.http.get("/health")).status == 200
    response = await api.http.get("/ready")
    assert response.status == 503
    assert (await problem(response))["code"] == "storage_unavailable"


async def test_this_machine_reads_the_metrics(api: Api) -> None:
    response = await api.http.get("/metrics")
    assert response.status == 200
    assert response.content_type == "text/plain"
    assert "switchboard_" in await response.text()


TRUST = {
    "nobody is trusted": {},
    "this machine is": {"trusted_proxies": "127.0.0.1,::1"},
    "all its networks are": {"trusted_proxies": "127.0.0.0/8,10.0.0.0/8"},
}


@pytest.mark.parametrize("trust", TRUST.values(), ids=TRUST)
async def test_no_proxy_of_this_machine_makes_the_world_local(
    start: Start, trust: dict[str, str]
) -> None:
    api = await start(**trust)
    for name, value in (
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "::1, 10.0.0.9"),
        ("X-Forwarded-For", ""),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=203.0.113.7"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 box"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("True-Client-IP", "127.0.0.1"),
        ("Host", "switchboard.example"),
    ):
        response = await api.http.get("/metrics", headers={name: value})
        assert response.status == 403, (name, value)
        assert (await problem(response))["code"] == "forbidden"
    assert (await api.http.get("/metrics")).status == 200


async def test_the_token_opens_the_metrics_from_anywhere(start: Start) -> None:
    api = await start(trusted_proxies="127.0.0.1", metrics_token=TOKEN)
    for authorization, status in (
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Bearer {TOKEN}x", 403),
        (TOKEN, 403),
        ("Bearer ", 403),
        ("Bearer ü\udcff", 403),
    ):
        response = await api.http.get(
            "/metrics",
            headers={"X-Forwarded-For": "203.0.113.7", "Authorization": authorization},
        )
        assert response.status == status


async def test_without_a_configured_token_no_token_is_right(start: Start) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    headers = {"X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer "}
    assert (await api.http.get("/metrics", headers=headers)).status == 403


async def test_an_empty_token_opens_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "")
    api = await start(trusted_proxies="127.0.0.1")
    for authorization in ("Bearer ", "Bearer", "Bearer  ", "bearer None", ""):
        headers = {"X-Forwarded-For": "203.0.113.7", "Authorization": authorization}
        assert (await api.http.get("/metrics", headers=headers)).status == 403
