"""Durable messages and a server that is killed: through the command line, as an operator would."""

import asyncio
import json
import signal
import subprocess
import sys
from typing import Any

from serving import PATIENCE

from tests.process.conftest import Start
from tests.process.server import ROOT, ServerProcess, environment


async def send(server: ServerProcess, payload: object, *more: str) -> int:
    """Send a durable message to ada and return its offset."""
    text = json.dumps(payload)
    arguments = ("send", "app.n", text, "--user", "ada", "--store", "log", *more)
    sent = await asyncio.to_thread(server.run.json, *arguments)
    return int(sent["offset"])


def listen(server: ServerProcess, *options: str) -> list[dict[str, Any]]:
    """Return what `listen --from cursor --ack` prints until it has enough."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "app", "listen", "ada", "--from", "cursor", "--ack", "--json"),
            *("--data-dir", str(server.data_dir), *options),
        ],
        cwd=ROOT,
        env=environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=True,
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


async def heard(server: ServerProcess, count: int) -> list[Any]:
    arguments = ("--count", str(count), "--timeout", str(PATIENCE))
    return [one["payload"] for one in await asyncio.to_thread(listen, server, *arguments)]


async def kill(server: ServerProcess) -> None:
    server.signal(signal.SIGKILL)
    assert await server.status() == -signal.SIGKILL


async def test_a_durable_message_survives_a_kill_and_reaches_who_was_away(start: Start) -> None:
    server = start()
    # Its first acknowledgement makes the cursor, which a polite stop writes.
    first = asyncio.create_task(heard(server, 1))
    await server.until_logged("connected")
    await send(server, "here")
    assert await first == ["here"]
    server.signal(signal.SIGTERM)
    assert await server.status() == 0

    server = start()
    offsets = [await send(server, number) for number in range(3)]
    await kill(server)

    server = start()
    assert await heard(server, 3) == [0, 1, 2]
    assert await send(server, "later") > max(offsets)
    assert await heard(server, 1) == ["later"]


async def test_a_message_id_survives_a_kill(start: Start) -> None:
    server = start()
    offset = await send(server, 1, "--message-id", "once")
    await kill(server)
    server = start()
    assert await send(server, 1, "--message-id", "once") == offset
    shown = await asyncio.to_thread(server.run, "stream", "show", "ada", "--json")
    assert len(shown.stdout.splitlines()) == 1


async def test_after_a_kill_the_epoch_is_the_same_and_a_position_still_holds(start: Start) -> None:
    server = start()
    phone = await server.device("phone")
    async with server.connected(phone, "?snapshot=1") as peer:
        position = (await peer.receive())["payload"]
    await send(server, "missed")
    await kill(server)
    server = start()
    query = f"?epoch={position['epoch']}&offset={position['offset']}"
    async with server.connected(phone, query) as peer:
        assert (await peer.receive())["payload"] == "missed"
        after = (await peer.receive())["payload"]["epoch"]
    # The dot ends the epoch; what follows names the generation, which each start begins.
    assert after.partition(".")[0] == position["epoch"].partition(".")[0]
    assert after != position["epoch"]


async def test_a_listener_misses_nothing_and_prints_nothing_twice_over_a_kill(
    start: Start,
) -> None:
    server = start()
    listening = asyncio.create_task(asyncio.to_thread(listen, server, "--count", "4"))
    await server.until_logged("connected")
    await send(server, 0)
    await send(server, 1)
    await kill(server)
    server = start(port=server.port)
    await send(server, 2)
    await send(server, 3)
    assert [message["payload"] for message in await listening] == [0, 1, 2, 3]
