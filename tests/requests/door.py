"""A server that answers with the token that counts, and sets what it is told."""

from collections.abc import Callable

import aiohttp_session
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient
from aiohttp.test_utils import TestClient
from cryptography.fernet import Fernet

from app.auth.peer import OriginVerdict
from app.requests.cookies import cookie_storage, forget, remember
from app.requests.identity import presented_token

KEY = Fernet.generate_key()
Client = TestClient[web.Request, web.Application]


class Door:
    """The server; `verdict` is what it thinks of the origin of its requests."""

    def __init__(self, aiohttp_client: AiohttpClient) -> None:
        self._client = aiohttp_client
        self.verdict: OriginVerdict = "absent"

    async def open(
        self, *keys: bytes, secure: Callable[[web.Request], bool], takes_jwts: bool = False
    ) -> Client:
        app = web.Application()
        self.storage = cookie_storage(keys, secure, 3600, takes_jwts=takes_jwts)
        aiohttp_session.setup(app, self.storage)
        app.router.add_get("/token", self._token)
        app.router.add_post("/token", self._remember)
        app.router.add_delete("/token", self._forget)
        return await self._client(app)

    async def _token(self, request: web.Request) -> web.Response:
        return web.json_response(await presented_token(request, self.verdict))

    async def _remember(self, request: web.Request) -> web.Response:
        await remember(request, await request.text())
        return web.Response()

    async def _forget(self, request: web.Request) -> web.Response:
        await forget(request)
        return web.Response()


async def token_of(client: Client, headers: dict[str, str] | None = None) -> object:
    """Return the token that counts and its way, as the server sees them."""
    async with client.get("/token", headers=headers) as answer:
        assert answer.status == 200
        return await answer.json()
