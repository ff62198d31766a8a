"""CORS: for allow-listed origins, with tokens only."""

import pytest

from tests.web.api import Api, Start, problem

ORIGIN = "https://app.example"
UPGRADE = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
]


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


SPELLINGS = {
    "as browsers send it": ("https://app.example", "https://app.example"),
    "its own port in the list": ("https://app.example:443", "https://app.example"),
    "its own port in the header": ("https://app.example", "https://app.example:443"),
    "capitals in the list": ("HTTPS://App.Example", "https://app.example"),
    "capitals in the header": ("https://app.example", "https://APP.example"),
    "a dot at the end in the list": ("https://app.example.", "https://app.example"),
    "a dot at the end in the header": ("https://app.example", "https://app.example."),
    "an international name": ("https://münchen.example", "https://xn--mnchen-3ya.example"),
    "IPv6 in its long form": ("https://[2001:db8:0::1]:443", "https://[2001:db8::1]"),
    "an app": ("capacitor://localhost", "capacitor://localhost"),
    "an app on Android": ("http://localhost", "http://localhost"),
}


@pytest.mark.parametrize(("listed", "sent"), SPELLINGS.values(), ids=SPELLINGS)
async def test_the_socket_and_cors_allow_the_same_origins(
    start: Start, listed: str, sent: str
) -> None:
    api = await start(allowed_origins=f"https://other.example, {listed}")
    ada = await api.sign_in()
    await api.connect({**ada.by_header, "Origin": sent})
    for response in (
        await api.http.options("/v1/devices", headers=preflight(sent)),
        await api.http.get("/v1/devices", headers={**ada.by_header, "Origin": sent}),
    ):
        assert response.status < 300
        assert response.headers["Access-Control-Allow-Origin"] == sent


async def test_two_origins_in_one_request_are_none(cors: Api) -> None:
    ada = await cors.sign_in()
    headers = [*ada.by_header.items(), ("Origin", ORIGIN), ("Origin", ORIGIN)]
    response = await cors.http.get("/v1/devices", headers=headers)
    assert "Access-Control-Allow-Origin" not in response.headers
    assert (await cors.http.get("/v1/ws", headers=[*UPGRADE, *headers])).status == 403


async def test_nobody_is_allowed_by_default(api: Api) -> None:
    response = await api.http.options("/v1/devices", headers=preflight(ORIGIN))
    assert response.status == 403
