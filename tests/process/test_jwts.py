"""JWTs and a server that is killed."""

import asyncio
import signal
from typing import Any

import aiohttp
import outside
from serving import Device

from tests.process.conftest import Start
from tests.process.server import ServerProcess


async def send(server: ServerProcess, api_key: str, sub: str, **more: Any) -> dict[str, Any]:
    """Send a message to the subject as a backend does, and return the answer."""
    body = {"to": {"user": {"iss": outside.ISSUER, "sub": sub}}, "type": "plan.state", **more}
    async with (
        aiohttp.ClientSession(headers={"Authorization": api_key}) as session,
        session.post(f"{server.url}/v1/messages", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


async def test_a_jwt_that_signed_out_stays_refused_after_a_kill(start: Start) -> None:
    server = start(**outside.SETTINGS)
    gone, kept = outside.token(device_id=None), outside.token(device_id=None, jti="2")
    for token in (gone, kept):
        assert server.get("/v1/auth/session", {"Authorization": token})[0] == 200
    # The form of older clients, which this process's client can send.
    assert server.get("/v1/auth/logout", {"Authorization": gone})[0] == 200
    server.signal(signal.SIGKILL)
    await server.status()
    again = start(**outside.SETTINGS)
    assert again.get("/v1/auth/session", {"Authorization": gone})[0] == 401
    assert again.get("/v1/auth/session", {"Authorization": kept})[0] == 200


async def test_what_a_user_is_sent_before_they_ever_come_survives_a_kill(start: Start) -> None:
    server = start(**outside.SETTINGS)
    made = await asyncio.to_thread(server.run.json, "keys", "add", "shop", "--scope", "send")
    stored = await send(server, made["key"], "eve", payload=7, store="latest", key="plan")
    server.signal(signal.SIGKILL)
    await server.status()
    again = start(**outside.SETTINGS)
    # What the token's first use makes: user 2, since ada was first, on device 1.
    eve = Device(outside.token("eve"), user_id=2, device_id=1, session_id=0)
    async with again.connected(eve, "?snapshot=1") as peer:
        value, position = await peer.receive(), await peer.receive()
    assert (value["payload"], value["snapshot"], value["offset"]) == (7, True, stored["offset"])
    assert position["payload"]["offset"] >= stored["offset"]
