"""Peers whose process is stopped, while their system still acknowledges what arrives."""

import asyncio
from pathlib import Path

import pytest
from serving import NO_LIMITS, PATIENCE

from tests.process.conftest import Start
from tests.process.server import StoppablePeer


@pytest.mark.parametrize("code", [4001, 4002], ids=["idle", "with_unsent_data"])
async def test_a_stopped_process_is_removed_and_nobody_else_is_disturbed(
    start: Start, tmp_path: Path, code: int
) -> None:
    server = start(
        heartbeat_seconds=1,
        stall_seconds=2,
        close_seconds=0.3,
        **NO_LIMITS,
    )
    phone, laptop, tv = [await server.device(name) for name in ("phone", "laptop", "tv")]
    stopped = await StoppablePeer.start(tmp_path / "tv", server, tv, stopped=True)
    try:
        async with server.connected(phone) as sender, server.connected(laptop) as receiver:
            number = 0
            size = 30_000 if code == 4002 else 1
            while not server.logged("disconnected"):
                for to in ([tv.device_id] if code == 4002 else []) + [laptop.device_id]:
                    payload = [number, "x" * size]
                    sent = {"to": to, "type": "n.x", "payload": payload}
                    await sender.ask("device.send", sent)
                assert (await receiver.receive())["payload"][0] == number
                number += 1
            [end] = server.logged("disconnected")
            assert (end["device"], end["code"]) == (tv.device_id, code)
            answer = await sender.ask("device.send", {"to": tv.device_id, "type": "n.x"})
            assert answer["payload"] == {"delivered": []}
            async with asyncio.timeout(PATIENCE):
                while server.sockets() != 2:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    finally:
        stopped.program.end()
