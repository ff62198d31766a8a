"""A slow handler of a feature does not keep its connection from being closed."""

from pathlib import Path

import pytest
from serving import Server

from app.keys import ACCOUNTS, NODE

SLOW = """
import asyncio


class Slow:
    prefix = "slow"
    ended = []

    def __init__(self, node):
        self.node = node

    async def handle(self, connection, message):
        try:
            await asyncio.sleep(message.payload)
        finally:
            self.ended.append(message.payload)
"""


@pytest.fixture
def feature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "slow_feature.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    return "slow_feature:Slow"


async def test_a_revoked_device_is_off_while_its_handler_hangs(
    tmp_path: Path, feature: str
) -> None:
    async with Server(tmp_path / "data", features=feature) as server:
        phone = await server.device()
        peer = await server.connect(phone)
        [connection] = server.manager.connections()
        await peer.send("slow.nap", 3600)
        await server.until(lambda: connection.inflow.frames == 1)
        server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
        assert await peer.closed() == (4502, "revoked")
        await server.until(lambda: not server.app[NODE].deadlines.heartbeat)


async def test_a_handler_that_is_nearly_done_is_let_finish(tmp_path: Path, feature: str) -> None:
    import slow_feature

    async with Server(tmp_path / "data", features=feature) as server:
        phone = await server.device()
        peer = await server.connect(phone)
        [connection] = server.manager.connections()
        await peer.send("slow.nap", 0.01)
        await server.until(lambda: connection.inflow.frames == 1)
        server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
        assert await peer.closed() == (4502, "revoked")
        assert slow_feature.Slow.ended[-1] == 0.01
