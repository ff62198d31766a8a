"""The client that docs/protocol.md shows, run against a real server."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from delivery_peers import append
from serving import Device, Peer, Server

from app.keys import NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from tests.docs.conversation import remove
from tests.docs.pages import page

Message = dict[str, Any]


class App:
    """A backend with a state, and a client of it that keeps a copy by the page's class."""

    def __init__(self, server: Server, device: Device) -> None:
        names: dict[str, Any] = {}
        exec(page("docs/protocol.md").example("python", "client").text, names)
        self._class = names["Stream"]
        self.server = server
        self.device = device
        self.state: dict[str, int] = {}
        self.mine: dict[str, int] = {}
        self.handled: list[int] = []
        self.fetched = 0
        self.replayed: list[int] = []
        self.start(None, 0)

    def start(self, position: tuple[str, int] | None, head: int) -> None:
        """The client's process is a new one, with what was stored."""
        self.stream = self._class(position, head, self._fetch, self._handle)

    def _fetch(self) -> None:
        self.fetched += 1
        self.mine = dict(self.state)

    def _handle(self, message: Message) -> None:
        self.mine |= message["payload"]
        self.handled.append(message["offset"])
        if message.get("replayed"):
            self.replayed.append(message["offset"])

    async def change(self, key: str, value: int, keep: Keep | None = None) -> int:
        """The state is another one, and its message is stored; returns the offset."""
        self.state[key] = value
        to = ToUser(self.device.user_id)
        send = Publication(to, "app.x", {key: value}, keep or Keep("log"))
        return (await append(self.server.app[NODE], send)).offset

    async def open(self) -> Peer:
        return await self.server.open(self.device, f"?{urlencode(self.stream.query())}")

    async def visit(self, changes: int = 0) -> None:
        """Connect, have so many changes happen, read all of it, and leave."""
        peer = await self.open()
        last = 0
        for number in range(changes):
            last = await self.change("abc"[number % 3], last + number)
        told = False
        while not told or self.stream.position[1] < last:
            message = await peer.receive()
            told = told or message["type"] == "position"
            if self.stream.receive(message):
                await peer.send("ack", {"offset": self.stream.position[1]})
        await peer.silence()
        await peer.close()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with Server(tmp_path, close_seconds=0.3) as server:
        yield App(server, await server.device("phone"))


async def test_it_has_the_state_after_each_visit_and_fetches_it_once(app: App) -> None:
    await app.change("a", 1)
    for changes in (0, 3, 7):
        await app.visit(changes)
        assert app.mine == app.state
        await app.change("b", 100 + changes)
    await app.visit()
    assert app.mine == app.state
    assert app.fetched == 1
    assert app.handled == sorted(set(app.handled)), "each once, in order"


async def test_what_comes_again_is_dropped(app: App) -> None:
    await app.visit()
    await app.change("a", 5)
    stored = app.stream.position
    await app.visit()
    assert app.stream.position[1] == stored[1] + 1
    message = {"type": "app.x", "payload": {"a": 4}, "offset": app.stream.position[1]}
    app.stream.receive(message)
    assert app.mine == app.state


async def test_a_new_epoch_makes_it_fetch_the_state_again(app: App) -> None:
    await app.visit(2)
    await app.change("a", 9)
    node = app.server.app[NODE]
    await node.reset_streams()
    await app.visit()
    assert app.mine == app.state
    assert app.fetched == 2
    assert app.stream.position[0] == node.log.numbering.text


async def test_after_a_removal_it_fetches_the_state_and_tells_replays_from_news(app: App) -> None:
    await app.visit(2)
    for number in range(5):
        await app.change("abc"[number % 3], 10 + number)
    await remove(app.server, app.device.user_id, 5)
    await app.visit(1)
    assert app.mine == app.state
    assert app.fetched == 2
    assert app.handled == [1, 2, 6, 7, 8]
    assert app.replayed == [6, 7]


async def test_a_replay_that_breaks_off_goes_on_as_one_in_another_process(app: App) -> None:
    await app.visit(2)
    for number in range(5):
        await app.change("a", number)
    await remove(app.server, app.device.user_id, 4)
    peer = await app.open()
    for _ in range(2):
        app.stream.receive(await peer.receive())
    assert app.replayed == [5]
    await peer.drop()
    app.start(app.stream.position, app.stream.head)
    await app.visit(1)
    assert app.mine == app.state
    assert app.handled == [1, 2, 5, 6, 7, 8]
    assert app.replayed == [5, 6, 7]
    assert app.fetched == 2


async def test_a_position_frame_gives_the_text_for_the_messages_after_it(app: App) -> None:
    await app.visit()
    position = {"epoch": "newest", "offset": 1, "live": True}
    app.stream.receive({"type": "position", "payload": position})
    app.stream.receive({"type": "app.x", "payload": {}, "offset": 2})
    assert app.stream.position == ("newest", 2)


async def test_a_snapshot_moves_no_position_and_brings_the_values(app: App) -> None:
    for value in (1, 2):
        await app.change("a", value, Keep("latest", "a"))
    peer = await app.open()
    assert app.stream.receive(await peer.receive()) is False
    snapshot = await peer.receive()
    assert (snapshot["snapshot"], snapshot["payload"]) == (True, {"a": 2})
    assert app.stream.receive(snapshot) is False
    assert app.stream.position is None
    assert app.stream.receive(await peer.receive()) is True
    assert app.stream.position[1] == 2
