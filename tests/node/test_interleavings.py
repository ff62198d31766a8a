"""Any order of sends, deletions, acks, stalls, disconnects, resumes, prunes and restarts.

Every message that is kept and above a tab's position comes, in order. After a `reset` none comes
twice as a new one, and nothing above the head that it told is missing.

At a restart a copy of all that was kept may be put back.

A model knows what each tab must have seen; the tabs behave as clients are told to.
"""

import asyncio
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from delivery_peers import Peer, append, frames, make_node
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from memory_log import MemoryLog

from app.node.delivery import PAGE
from app.node.node import Node
from app.protocol.close import TOO_SLOW
from app.protocol.keep import Keep
from app.protocol.messages import Source
from app.protocol.position import Position
from app.protocol.publication import Address, Publication, ToDevice, ToEveryone, ToOthers, ToUser
from app.streams.base import Row
from tests.effort import examples

TABS = [(1, "a"), (1, "b"), (2, "a")]

tabs = st.sampled_from(TABS)
devices = st.sampled_from([1, 2, 3])
rarely = st.sampled_from([False, False, False, False, True])


@dataclass
class Tab:
    """A client: where it stands, what it has taken, and what it must have seen."""

    device: int
    instance: str
    position: Position | None = None
    peer: Peer | None = None
    since: int = 0
    """Offset from which on nothing may be missing."""
    taken: dict[int, Row] = field(default_factory=dict)
    """By its offset, each message as it was kept when it came."""
    text: str = ""
    head: int = 0
    """The one of the last `reset`: what comes up to here is no news, on later connections too."""
    news: dict[int, Row] = field(default_factory=dict)
    """By its offset, each message that came as a new one."""
    resets: bool = False
    """Whether this connection began with `reset`."""
    read: int = 0
    snapshots: dict[str, int] = field(default_factory=dict)

    def enter(
        self, node: Node, *, by_cursor: bool, live: bool, snapshot: bool, stalled: bool
    ) -> None:
        wanted = None if by_cursor or live else self.position
        self.peer = Peer(node, self.device, self.instance)
        if stalled:
            self.peer.stall()
        self.read = 0
        start = self.peer.enter(wanted, live=live, snapshot=snapshot)
        assert start.head >= start.offset
        self.text = start.epoch
        self.resets = start.outcome == "reset"
        if start.outcome != "resumed":
            self.head = start.head
        if wanted is not None and node.log.numbering.holds(wanted, node.log.last):
            # It goes on from where it is, though after a `reset` something is gone.
            assert start.offset == wanted.offset
            return
        assert wanted is None or start.offset == start.head
        # A new beginning: its state is fetched, and all it had before is part of that.
        self.since = start.offset
        self.taken.clear()
        self.position = None
        if not self.resets:
            self.news.clear()

    def take(self, history: Mapping[int, Row]) -> None:
        """Read what has arrived, dropping what is not above the position, snapshots apart."""
        assert self.peer is not None
        data = b"".join(self.peer.wire.written)
        messages = frames(data)
        for message in messages[self.read :]:
            if message["type"] == "position":
                told = message["payload"]
                assert self.position is None or told["offset"] >= self.position.offset
                self.text = told["epoch"]
                self.position = Position(self.text, told["offset"])
            elif message.get("snapshot"):
                assert "deleted" not in message
                self.snapshots[message["payload"]["key"]] = message["offset"]
            elif "offset" in message:
                offset = message["offset"]
                assert offset > max(self.taken, default=0), "out of order, or twice"
                assert self.position is None or offset > self.position.offset
                self.taken[offset] = history[offset]
                self.note(message, history[offset])
                if self.position is not None:
                    self.position = Position(self.text, offset)
        self.read = len(messages)

    def note(self, message: Mapping[str, Any], row: Row) -> None:
        """Check how the message is marked, and that none is new twice."""
        marked, offset = message.get("replayed", False), row.offset
        assert marked is (self.resets and offset <= self.head)
        if offset > self.head:
            assert self.news.get(offset) is not row, "new twice"
            self.news[offset] = row


class Interleavings(RuleBasedStateMachine):
    """One user with three devices, two tabs each, on a node that may restart."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        chance = random.Random(7)
        # Each row has a time of its own, so that two with one offset are never equal.
        times = itertools.count()
        self.streams = MemoryLog(6, lambda: next(times), turns=lambda: chance.randint(0, 3))
        self.copies: list[dict[str, Any]] = []
        self.tabs = {tab: Tab(*tab) for tab in TABS}
        self.sent: list[asyncio.Future[Any]] = []
        self.run(self.start())

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    async def start(self) -> None:
        self.streams.begin()
        self.node = make_node(self.streams)
        self.committing = asyncio.create_task(self.node.committer.run())

    async def stop(self) -> None:
        await self.node.committer.drain()
        self.committing.cancel()
        await asyncio.wait([self.committing])
        await self.node.delivery.close()

    def teardown(self) -> None:
        for tab in self.tabs.values():
            if tab.peer is None:
                self.connect(tab=(tab.device, tab.instance), by_cursor=False)
        self.settle()
        self.run(self.stop())
        self.runner.close()

    def connected(self) -> list[Tab]:
        return [tab for tab in self.tabs.values() if tab.peer is not None]

    async def submit(self, send: Publication, number: int, turns: int) -> None:
        """Send, and go on before it is answered."""
        self.sent += [append(self.node, send) for _ in range(number)]
        for _ in range(turns):
            await asyncio.sleep(0)
            for tab in self.connected():
                assert tab.peer is not None
                tab.peer.drain()

    @rule(
        where=st.sampled_from(["user", "others", "device", "everyone"]),
        tab=tabs,
        receiver=devices,
        key=st.sampled_from([None, None, "x", "y"]),
        delete=st.sampled_from([False, False, True]),
        message_id=st.sampled_from([None, None, None, "m1", "m2"]),
        turns=st.integers(0, 9),
    )
    def send(
        self,
        where: Any,
        tab: Any,
        receiver: int,
        key: Any,
        delete: bool,
        message_id: Any,
        turns: int,
    ) -> None:
        store, gone = ("latest", delete) if key else ("log", False)
        keep = Keep(store, key, message_id=message_id, delete=gone)
        source = Source(*tab) if where == "others" else None
        to: dict[str, Address] = {
            "user": ToUser(1),
            "others": ToOthers(1, *tab),
            "device": ToDevice(1, receiver),
            "everyone": ToEveryone(),
        }
        send = Publication(to[where], "note.x", {"key": key}, keep, source, f"device:{tab[0]}")
        self.run(self.submit(send, 1, turns))

    @rule(number=st.integers(2, 12), turns=st.integers(0, 9))
    def burst(self, number: int, turns: int) -> None:
        send = Publication(ToUser(1), "note.x", {"pad": "." * 300}, Keep("log"))
        self.run(self.submit(send, number, turns))

    @rule(tab=tabs, by_cursor=rarely, live=rarely, snapshot=rarely, stalled=rarely)
    def connect(
        self,
        tab: Any,
        by_cursor: bool,
        live: bool = False,
        snapshot: bool = False,
        stalled: bool = False,
    ) -> None:
        async def enter() -> None:
            one = self.tabs[tab]
            await self.node.delivery.standings.prepare(1, one.device)
            self.leave(one)
            one.enter(self.node, by_cursor=by_cursor, live=live, snapshot=snapshot, stalled=stalled)

        self.run(enter())

    @rule(tab=tabs)
    def disconnect(self, tab: Any) -> None:
        async def gone() -> None:
            self.leave(self.tabs[tab])

        self.run(gone())

    def leave(self, tab: Tab) -> None:
        if tab.peer is not None:
            tab.take(self.streams.history)
            self.node.retire(tab.peer.connection)
            tab.peer = None

    @rule(tab=tabs)
    def stall(self, tab: Any) -> None:
        if (peer := self.tabs[tab].peer) is not None:
            peer.stall()

    @rule(number=st.integers(1, 12))
    def overtake(self, number: int) -> None:
        """Store and remove messages while nobody who has stalled reads on."""
        self.burst(number=number, turns=0)
        self.run(self.node.committer.drain())
        self.prune()

    @rule(tab=tabs, back=st.integers(0, 3))
    def acknowledge(self, tab: Any, back: int) -> None:
        one = self.tabs[tab]
        if one.peer is None:
            return
        one.take(self.streams.history)
        if one.position is not None:
            offset = max(0, one.position.offset - back)
            assert self.node.delivery.acknowledge(one.peer.connection, offset)

    @rule()
    def prune(self) -> None:
        async def prune() -> None:
            step = await self.streams.prune()
            self.node.delivery.standings.raise_floors(step.floors)

        self.run(prune())

    @rule()
    def restart(self) -> None:
        async def restart() -> None:
            for tab in self.tabs.values():
                self.leave(tab)
            await self.node.delivery.standings.save()
            await self.stop()
            await self.start()

        self.run(restart())

    @rule()
    def copy(self) -> None:
        """Copy all that is kept, as of the folder of a running server."""
        self.copies = [*self.copies[-2:], self.streams.image()]

    @rule(which=st.integers(0, 2))
    def put_back(self, which: int) -> None:
        async def put_back() -> None:
            for tab in self.tabs.values():
                self.leave(tab)
            await self.stop()
            if self.copies:
                self.streams.put_back(self.copies[which % len(self.copies)])
            await self.start()

        self.run(put_back())

    @rule()
    def settle(self) -> None:
        async def settle() -> None:
            await self.node.committer.drain()
            refusals = [one.exception() for one in self.sent]
            assert {one.code for one in refusals if one} <= {"id_conflict"}
            self.sent.clear()
            for tab in self.connected():
                assert tab.peer is not None
                await tab.peer.go_on()

        self.run(settle())
        for tab in self.connected():
            assert tab.peer is not None
            tab.take(self.streams.history)
            closing = tab.peer.connection.closing
            if closing is not None:
                assert closing.close == TOO_SLOW, "only who lacks what was pruned is sent away"
                continue
            assert not tab.peer.connection.place.behind
            assert tab.position is not None
            assert tab.position.offset >= max(tab.taken, default=0)
            owed = self.owed(tab)
            missing = [row.offset for row in owed if row.offset not in tab.taken]
            kept = {row.offset for row in self.streams.rows}
            assert not [offset for offset in missing if offset in kept], "something was lost"
            log = {row.offset for row in owed if row.key is None}
            assert not [one for one in missing if one in log and one > tab.head], "a silent gap"
            assert set(tab.taken) <= {row.offset for row in owed}, "something was not its own"
            of_the_log = [self.streams.history[offset] for offset in tab.taken]
            assert [*tab.taken.values()] == of_the_log, "resumed over a gap"

    def owed(self, tab: Tab) -> list[Row]:
        return [
            row
            for row in self.streams.history.values()
            if row.offset > tab.since and row.is_for(tab.device, tab.instance)
        ]

    @invariant()
    def outboxes_are_bounded(self) -> None:
        for tab in self.connected():
            assert tab.peer is not None
            assert tab.peer.connection.backlog <= PAGE.rows + 10


Interleavings.TestCase.settings = settings(
    max_examples=examples(500),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestInterleavings = Interleavings.TestCase


class Backend:
    """The application's own state, and the messages that tell of its changes."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.state: dict[str, int] = {}
        self.sent: list[Any] = []

    def change(self, key: str, value: int) -> None:
        self.state[key] = value
        send = Publication(ToUser(1), "state.x", {key: value}, Keep("log"))
        self.sent.append(append(self.node, send))


async def test_state_fetched_with_messages_applied_is_the_state_fetched_again() -> None:
    """10,000 interleavings of connecting, fetching and changing."""
    chance = random.Random(7)
    for _ in range(100):
        node = make_node(MemoryLog())
        committing = asyncio.create_task(node.committer.run())
        await fetch_and_compare(node, chance, 100)
        committing.cancel()
        await asyncio.wait([committing])


async def fetch_and_compare(node: Node, chance: random.Random, times: int) -> None:
    for number in range(times):
        backend = Backend(node)
        peer = Peer(node, 1 + number % 3)
        await node.delivery.standings.prepare(1, peer.connection.device_id)
        steps = ["connect", "fetch", *["change"] * chance.randint(1, 4), *["turn"] * 3]
        chance.shuffle(steps)
        # A client fetches after it has connected: that is the order it is told.
        first, second = sorted((steps.index("connect"), steps.index("fetch")))
        steps[first], steps[second] = "connect", "fetch"
        mine: dict[str, int] = {}
        for step in steps:
            if step == "connect":
                peer.enter(live=True)
            elif step == "fetch":
                mine = dict(backend.state)
            elif step == "change":
                backend.change(chance.choice("ab"), chance.randint(0, 99))
            else:
                await asyncio.sleep(0)
        await asyncio.wait(backend.sent)
        await peer.settle()
        for message in peer.messages():
            if message["type"] == "state.x":
                mine |= message["payload"]
        assert mine == backend.state
        node.retire(peer.connection)
