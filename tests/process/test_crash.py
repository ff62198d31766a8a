"""A server that is killed with work in its hands, and the one that takes its place."""

import asyncio
import signal
import sqlite3

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from app.control.address import SOCKET_NAME
from app.storage.database import DATABASE_NAME
from tests.process.conftest import Start
from tests.process.server import ServerProcess


async def rename_until_it_dies(server: ServerProcess, token: str, device_id: int) -> int:
    """Rename the device again and again; return the last number that was acknowledged."""
    acknowledged = -1
    async with aiohttp.ClientSession(headers={"Authorization": token}) as session:
        try:
            while True:
                name = {"device_name": f"name {acknowledged + 1}"}
                url = f"{server.url}/v1/devices/{device_id}"
                async with session.patch(url, json=name) as answer:
                    assert answer.status == 200
                acknowledged += 1
                if acknowledged == 20:
                    server.signal(signal.SIGKILL)
        except aiohttp.ClientError:
            return acknowledged


async def test_after_a_kill_everything_acknowledged_is_there_and_clients_come_back(
    start: Start,
) -> None:
    server = start()
    phone, laptop = await server.device("phone"), await server.device("laptop")
    async with server.connected(phone) as lost:
        acknowledged = await rename_until_it_dies(server, laptop.token, laptop.device_id)
        assert acknowledged >= 20
        with pytest.raises(ConnectionClosed) as end:
            await lost.receive()
        assert end.value.rcvd is None
    assert await server.status() == -signal.SIGKILL
    assert (server.data_dir / SOCKET_NAME).exists()

    again = start(port=server.port)
    async with again.connected(phone) as one, again.connected(laptop) as two:
        answer = await one.ask("device.send", {"to": "others", "type": "n.x", "payload": 1})
        assert answer["payload"] == {"delivered": [laptop.device_id]}
        assert (await two.receive())["payload"] == 1
    devices = await asyncio.to_thread(again.run.json, "devices", "list", "ada")
    names = {device["id"]: device.get("device_name") for device in devices}
    assert int(names[laptop.device_id].split()[1]) >= acknowledged
    with sqlite3.connect(again.data_dir / DATABASE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    again.signal(signal.SIGTERM)
    assert await again.status() == 0


async def test_after_a_kill_the_command_line_writes_without_a_server(start: Start) -> None:
    server = start()
    server.signal(signal.SIGKILL)
    assert await server.status() == -signal.SIGKILL
    phone = await server.device("phone")
    again = start()
    async with again.connected(phone) as peer:
        await peer.silence()
