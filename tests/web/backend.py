"""The HTTP interface as an application's backend uses it."""

import asyncio
import json
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from aiohttp import ClientResponse, ClientWebSocketResponse
from serving import PATIENCE

from app.keys import ACCOUNTS, API_KEYS, MANAGER
from app.storage.api_keys import ApiKey
from tests.web.api import Api, SignedIn, problem


@dataclass
class Shop:
    """A backend with a key, and the users of its server."""

    api: Api
    key: str

    @property
    def by_header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    async def post(
        self, body: Any, path: str = "/v1/messages", headers: dict[str, str] | None = None
    ) -> ClientResponse:
        sent = {**self.by_header, **(headers or {})}
        sent["Content-Type"] = "application/json"
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.api.http.post(path, data=BytesIO(raw), headers=sent)

    async def send(
        self, to: Any, type_: str = "note.text", payload: Any = None, **more: Any
    ) -> dict[str, Any]:
        """Send a message that is accepted and return the answer."""
        response = await self.post({"to": to, "type": type_, "payload": payload, **more})
        assert response.status == 200, await response.text()
        return dict(await response.json())

    async def refused(self, body: Any, **more: Any) -> tuple[int, str]:
        """Send what is refused and return status and code."""
        response = await self.post(body, **more)
        return response.status, (await problem(response))["code"]

    async def batch(self, *messages: Any) -> list[dict[str, Any]]:
        """Send a batch and return the outcomes."""
        response = await self.post({"messages": list(messages)}, "/v1/messages/batch")
        assert response.status == 200, await response.text()
        return list((await response.json())["outcomes"])

    async def get(self, path: str) -> dict[str, Any]:
        response = await self.api.http.get(path, headers=self.by_header)
        assert response.status == 200, await response.text()
        return dict(await response.json())

    async def device(self, number: int = 1, handle: str = "ada") -> SignedIn:
        """Return a device of the user, signed in."""
        return await self.api.sign_in(user_handle=handle, device_uuid=f"device-{number:04}")

    async def user_id(self, handle: str = "ada") -> int:
        return (await self.api.app[ACCOUNTS].find_user(handle)).id

    async def away(self, device: SignedIn) -> None:
        """Wait until the server has noticed that the device has gone."""
        manager = self.api.app[MANAGER]
        async with asyncio.timeout(PATIENCE):
            while manager.is_device_connected(device.body["user_id"], device.device_id):  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    async def positioned(self, device: SignedIn) -> ClientWebSocketResponse:
        """Return the device's socket, after the messages that every positioned one gets first."""
        socket = await self.api.http.ws_connect("/v1/ws?resume=live", headers=device.by_header)
        assert (await receive(socket))["type"] == "connected"
        assert (await receive(socket))["type"] == "position"
        return socket


async def shop(api: Api, *scopes: str, prefixes: tuple[str, ...] = ()) -> Shop:
    """Return a backend with a key of these scopes."""
    made = await api.app[API_KEYS].add("shop", scopes, prefixes)
    return Shop(api, made.key)


async def receive(socket: ClientWebSocketResponse) -> dict[str, Any]:
    """Return the next message."""
    return dict(await socket.receive_json(timeout=PATIENCE))


async def acknowledge(socket: ClientWebSocketResponse, offset: int) -> None:
    """Acknowledge everything up to the offset, and wait until the server knows."""
    await socket.send_json({"type": "ack", "payload": {"offset": offset}})
    await socket.send_json({"type": "ping", "id": "after"})
    while (await receive(socket)).get("reply_to") != "after":
        pass


async def all_keys(api: Api) -> list[ApiKey]:
    """Return the API keys of the server, as last used up to now."""
    return await api.app[API_KEYS].page(include_revoked=False, after=0, limit=100)
