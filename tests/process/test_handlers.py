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
        await server.until(lambda: not server.app[NODE].live)


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
        await server.until(lambda: not server.app[NODE].live)
        assert slow_feature.Slow.ended[-1] == 0.01


async def test_a_handler_that_hangs_holds_up_nothing_else(tmp_path: Path, feature: str) -> None:
    async with Server(tmp_path / "data", features=feature, heartbeat_seconds=0.2) as server:
        phone = await server.device()
        peer, laptop = (
            await server.connect(phone),
            await server.connect(await server.device("laptop")),
        )
        await peer.send("slow.nap", 3600, id="1")
        await peer.send("slow.nap", 0, id="2")
        assert (await peer.ask("ping"))["type"] == "pong"
        send = {"to": "others", "type": "note.x", "payload": 1}
        assert (await peer.ask("device.send", send))["type"] == "ok"
        assert (await laptop.receive())["payload"] == 1
        # Far beyond the time in which an unanswered ping ends a connection.
        [connection] = [one for one in server.manager.connections() if one.device_id == 1]
        for _ in range(5):
            await server.until(lambda: connection.pulse.awaited_pong is not None)
            await server.until(lambda: connection.pulse.awaited_pong is None)
        assert not connection.is_closing()


async def test_a_handler_that_takes_too_long_is_timed_out_and_the_next_one_runs(
    tmp_path: Path, feature: str
) -> None:
    async with Server(tmp_path / "data", features=feature, handler_seconds=0.05) as server:
        peer = await server.connect(await server.device())
        await peer.send("slow.nap", 3600, id="1")
        await peer.send("slow.nap", 0, id="2")
        late, done = await peer.receive(), await peer.receive()
        assert (late["payload"]["code"], late["reply_to"]) == ("timed_out", "1")
        assert (done["type"], done["reply_to"]) == ("ok", "2")


async def test_a_stop_waits_for_no_handler(tmp_path: Path, feature: str) -> None:
    import slow_feature

    async with Server(tmp_path / "data", features=feature) as server:
        peer = await server.connect(await server.device())
        [connection] = server.manager.connections()
        await peer.send("slow.nap", 3600)
        await server.until(lambda: connection.inflow.frames == 1)
    assert slow_feature.Slow.ended[-1] == 3600
    assert (await peer.closed())[0] == 1001


async def test_a_client_that_leaves_has_its_messages_finished_and_is_pinged_no_more(
    tmp_path: Path, feature: str, caplog: pytest.LogCaptureFixture
) -> None:
    import slow_feature

    caplog.set_level("INFO")
    async with Server(tmp_path / "data", features=feature, heartbeat_seconds=0.1) as server:
        peer = await server.connect(await server.device())
        [connection] = server.manager.connections()
        await peer.send("slow.nap", 1)
        await server.until(lambda: connection.inflow.frames == 1)
        await peer.close()
        await server.until(lambda: not server.app[NODE].live)
        assert slow_feature.Slow.ended[-1] == 1
    [line] = [one for one in caplog.records if one.getMessage() == "disconnected"]
    assert line.fields["code"] == 1000


async def test_a_revoked_device_begins_nothing_that_it_sent_before_it_left(
    tmp_path: Path, feature: str
) -> None:
    import slow_feature

    async with Server(tmp_path / "data", features=feature) as server:
        phone = await server.device()
        peer = await server.connect(phone)
        [connection] = server.manager.connections()
        for seconds in (3600, 0.25, 0.125):
            await peer.send("slow.nap", seconds)
        await server.until(lambda: connection.inflow.frames == 3)
        await peer.close()
        await server.until(lambda: not server.manager.connection_count)
        before = len(slow_feature.Slow.ended)
        server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
        await server.until(lambda: not server.app[NODE].live)
        assert slow_feature.Slow.ended[before:] == [3600]
