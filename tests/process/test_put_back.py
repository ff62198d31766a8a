"""A data folder that was copied whole while the server was stopped, and put back later."""

import asyncio
import signal
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from serving import Device, Peer
from websockets.asyncio.client import connect

from tests.process.conftest import Start
from tests.process.server import ServerProcess


async def send(server: ServerProcess, text: str) -> None:
    arguments = ("send", "app.n", f'"{text}"', "--user", "ada", "--store", "log")
    await asyncio.to_thread(server.run.json, *arguments)


async def stop(server: ServerProcess) -> None:
    server.signal(signal.SIGTERM)
    assert await server.status() == 0


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


@dataclass
class Client:
    """A device that keeps its position and what it got, over all servers."""

    device: Device
    position: dict[str, Any] | None = None
    got: list[str] = field(default_factory=list)

    async def visit(self, server: ServerProcess) -> str:
        """Come, take everything up to `position`, and leave; return the outcome."""
        query = urlencode(self.position or {"resume": "live"})
        url = f"{server.url.replace('http', 'ws', 1)}/v1/ws?{query}"
        async with AsyncExitStack() as stack:
            headers = self.device.by_header
            ws = await stack.enter_async_context(connect(url, additional_headers=headers))
            peer = Peer(ws)
            outcome = str((await peer.receive())["payload"]["resume"]["outcome"])
            while (message := await peer.receive())["type"] != "position":
                self.got.append(message["payload"])
            told = message["payload"]
            self.position = {"epoch": told["epoch"], "offset": told["offset"]}
            return outcome


async def test_a_folder_put_back_whole_resets_every_device_that_was_ahead_and_no_other(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    names = ("phone", "laptop", "tablet", "away")
    phone, laptop, tablet, away = [Client(await server.device(name)) for name in names]
    for client in (phone, laptop, tablet, away):
        assert await client.visit(server) == "live"
    await send(server, "before")
    for client in (phone, laptop, tablet):
        assert await client.visit(server) == "resumed"
    await stop(server)
    copy(server.data_dir, tmp_path / "copy")

    server = start()
    await send(server, "lost 1")
    assert await phone.visit(server) == "resumed"
    await send(server, "lost 2")
    assert await laptop.visit(server) == "resumed"
    await stop(server)
    server.data_dir.rename(tmp_path / "gone")
    copy(tmp_path / "copy", server.data_dir)

    server = start()
    # As many messages as were lost, and more: the offsets of the lost ones are other messages now.
    for number in range(3):
        await send(server, f"after {number}")
    after = [f"after {number}" for number in range(3)]
    assert await phone.visit(server) == "reset"
    assert await laptop.visit(server) == "reset"
    assert await tablet.visit(server) == "resumed"
    assert tablet.got == ["before", *after]
    assert await away.visit(server) == "resumed"
    assert away.got == ["before", *after]
    assert server.logged("new epoch of the streams") == [], "the copy brought its guard along"

    await send(server, "later")
    for client in (phone, laptop, tablet, away):
        assert await client.visit(server) == "resumed"
        assert client.got[-1] == "later"
    assert phone.got == ["before", "lost 1", "later"]


async def test_a_copy_of_a_copy_and_the_folder_itself_are_told_apart(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    phone = Client(await server.device("phone"))
    assert await phone.visit(server) == "live"
    await stop(server)
    copy(server.data_dir, tmp_path / "copy")
    outcomes = []
    for number in range(3):
        server = start()
        await send(server, f"in history {number}")
        outcomes.append(await phone.visit(server))
        await stop(server)
        server.data_dir.rename(tmp_path / f"gone-{number}")
        copy(tmp_path / "copy", server.data_dir)
    (tmp_path / "data").rename(tmp_path / "unused")
    (tmp_path / "gone-2").rename(tmp_path / "data")
    server = start()
    await send(server, "in the last history")
    assert [*outcomes, await phone.visit(server)] == ["resumed", "reset", "reset", "resumed"]
    assert phone.got == ["in history 0", "in the last history"]


async def test_a_backup_of_the_running_server_resets_those_ahead_of_it_and_no_other(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    phone, tablet, away = [Client(await server.device(name)) for name in ("a", "b", "c")]
    for client in (phone, tablet, away):
        assert await client.visit(server) == "live"
    await send(server, "before")
    for client in (phone, tablet):
        assert await client.visit(server) == "resumed"
    backup = str(tmp_path / "backup.db")
    await asyncio.to_thread(server.run, "backup", backup)
    # The same start of the server goes on, so the generation is the one that the backup has.
    await send(server, "lost")
    assert await phone.visit(server) == "resumed"
    await stop(server)
    await asyncio.to_thread(server.run, "restore", backup, "--replace")

    server = start()
    for number in range(2):
        await send(server, f"after {number}")
    assert await phone.visit(server) == "reset"
    for client in (tablet, away):
        assert await client.visit(server) == "resumed"
        assert client.got == ["before", "after 0", "after 1"]
    assert server.logged("new epoch of the streams") == [], "the epoch stays"
    await send(server, "later")
    assert await phone.visit(server) == "resumed"
    assert phone.got == ["before", "lost", "later"]
