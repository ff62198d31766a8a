"""The HTTP interface as a client uses it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse, ClientWebSocketResponse, web
from aiohttp.test_utils import TestClient
from serving import PATIENCE

from app.keys import DATABASE
from tests.databases import PASSWORD, add_person

COOKIE = "session_token"

Client = TestClient[web.Request, web.Application]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a client knows after it signed in."""

    body: dict[str, Any]
    cookie: str | None

    @property
    def token(self) -> str:
        return str(self.body["token"])

    @property
    def device_id(self) -> int:
        return int(self.body["device_id"])

    @property
    def by_header(self) -> dict[str, str]:
        return {"Authorization": self.token}

    @property
    def by_cookie(self) -> dict[str, str]:
        assert self.cookie is not None
        return {"Cookie": f"{COOKIE}={self.cookie}"}


@dataclass(frozen=True, slots=True)
class Api:
    """A server, and a client of it."""

    http: Client

    @property
    def app(self) -> web.Application:
        app = self.http.app
        assert app is not None
        return app

    @property
    def origin(self) -> str:
        return str(self.http.make_url("/")).rstrip("/")

    async def add_user(self, handle: str, roles: tuple[str, ...] = ()) -> int:
        user = await add_person(self.app[DATABASE], handle, roles)
        return user.id

    async def login(
        self, *, headers: dict[str, str] | None = None, **fields: Any
    ) -> ClientResponse:
        body = {
            "user_handle": "ada",
            "password": PASSWORD,
            "device_uuid": "device-0001",
            "device_type": "web",
            **fields,
        }
        sent = {name: value for name, value in body.items() if value is not ...}
        return await self.http.post("/v1/auth/login", json=sent, headers=headers)

    async def sign_in(self, **fields: Any) -> SignedIn:
        response = await self.login(**fields)
        assert response.status == 201, await response.text()
        morsel = response.cookies.get(COOKIE)
        return SignedIn(await response.json(), morsel.value if morsel is not None else None)

    async def whoami(self, headers: dict[str, str]) -> int:
        response = await self.http.get("/v1/auth/session", headers=headers)
        return response.status

    async def connect(self, headers: dict[str, str]) -> ClientWebSocketResponse:
        """Return a socket that has been told `connected`."""
        socket = await self.http.ws_connect("/v1/ws", headers=headers)
        first = await socket.receive_json(timeout=PATIENCE)
        assert first["type"] == "connected"
        return socket


async def problem(response: ClientResponse) -> dict[str, Any]:
    """Check that the answer is a problem, and return its body."""
    assert response.content_type == "application/problem+json"
    body = await response.json(content_type=None)
    assert body["status"] == response.status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return dict(body)


Start = Callable[..., Awaitable[Api]]
