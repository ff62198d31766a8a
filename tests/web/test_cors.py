"""CORS: for allow-listed origins, with tokens only."""

import pytest

from tests.web.api import Api, Start, problem

ORIGIN = "https://app.example"


@pytest.fixture
async def cors(start: Start) -> Api:
    return await start(allowed_origins=ORIGIN)


def preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization",
    }


async def test_a_preflight_of_an_allowed_origin_is_answered(cors: Api) -> None:
    response = await cors.http.options("/v1/devices/1", headers=preflight(ORIGIN))
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://app.example", ""])
async def test_a_preflight_of_another_origin_is_refused(cors: Api, origin: str) -> None:
    response = await cors.http.options("/v1/devices/1", headers=preflight(origin))
    assert response.status == 403
    assert (await problem(response))["code"] == "forbidden_origin"
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_answers_and_refusals_can_be_read_by_the_allowed_origin(cors: Api) -> None:
    ada = await cors.sign_in()
    for headers, status in ((ada.by_header, 200), ({}, 401)):
        response = await cors.http.get("/v1/devices", headers={**headers, "Origin": ORIGIN})
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert "Origin" in response.headers["Vary"]
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_other_origins_and_other_paths_get_no_cors(cors: Api) -> None:
    for path, origin in (
        ("/v1/auth/session", "https://evil.example"),
        ("/metrics", ORIGIN),
        ("/", ORIGIN),
    ):
        response = await cors.http.get(path, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_nobody_is_allowed_by_default(api: Api) -> None:
    response = await api.http.options("/v1/devices", headers=preflight(ORIGIN))
    assert response.status == 403
