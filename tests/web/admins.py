"""The HTTP interface as an administrator uses it."""

from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse

from tests.web.api import Api, SignedIn, problem


@dataclass
class Desk:
    """An administrator, signed in."""

    api: Api
    me: SignedIn

    @property
    def user_id(self) -> int:
        return int(self.me.body["user_id"])

    async def ask(self, method: str, path: str, body: Any = None) -> ClientResponse:
        """Return the answer to a request below /v1/admin."""
        return await self.api.http.request(
            method, f"/v1/admin{path}", json=body, headers=self.me.by_header
        )

    async def get(self, path: str) -> dict[str, Any]:
        response = await self.ask("GET", path)
        assert response.status == 200, await response.text()
        return dict(await response.json())

    async def do(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Return the body of an answer of 200 or 201."""
        response = await self.ask(method, path, body)
        assert response.status in (200, 201), await response.text()
        return dict(await response.json())

    async def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Return status and code of a refusal."""
        response = await self.ask(method, path, body)
        return response.status, (await problem(response))["code"]
