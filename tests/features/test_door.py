"""The door: messages that are handled in the call that brings them, and those that are not."""

import json
from typing import Any

import pytest
from delivery_peers import frames
from memory_log import MemoryLog
from serving import masked
from wires import MemoryWire

from app.base.errors import Problem
from app.base.metrics import Metrics, PrefixCounter
from app.features.door import PROMPT_BYTES, Dispatcher, Door
from app.features.feature import LATER, Accepted
from app.node.connection import Connection
from app.node.inflow import MAX_OUTSTANDING, RateLimit
from app.node.node import Node, NodeLimits
from app.node.outgoing import OutboxLimits
from app.node.registry import ConnectionManager
from app.protocol.close import RATE_LIMIT, REVOKED

WHO = {"user_id": 1, "device_id": 2, "connection_id": "c"}


class Side:
    """A door with the feature `note`, and one connection."""

    def __init__(self, **limits: Any) -> None:
        self.outcome: Any = Accepted([5])
        limit = RateLimit(**limits) if limits else None
        self.node = Node(
            ConnectionManager(),
            MemoryLog(),
            Metrics(),
            NodeLimits(outbox=OutboxLimits(4, 10_000)),
            clock=lambda: 7.0,
        )
        self.received = PrefixCounter()
        dispatcher = Dispatcher(
            {"note": self.wait, "slow": self.wait}, self.received, {"note": self.note}
        )
        self.door = Door(self.node, dispatcher, 65_536, limit)
        self.wire = MemoryWire()
        self.connection = Connection(self.wire, self.node.outgoing, **WHO)

    async def wait(self, connection: Connection, message: Any) -> Any:
        return Accepted([6])

    def note(self, connection: Connection, message: Any) -> Any:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def take(self, type_: str = "note.x", **more: Any) -> bool:
        text = json.dumps({"type": type_, "id": "7", **more})
        return self.door.take_now(self.connection, masked(text.encode()))

    def answers(self) -> list[Any]:
        self.connection.flush()
        return frames(b"".join(self.wire.written))


@pytest.fixture
async def side() -> Side:
    return Side()


async def test_a_message_is_counted_handled_and_answered_at_once(side: Side) -> None:
    assert side.take()
    assert side.answers() == [{"type": "ok", "payload": {"delivered": [5]}, "reply_to": "7"}]
    assert (side.connection.inflow.frames, side.connection.inflow.heard_at) == (1, 7.0)
    assert dict(side.received.items()) == {"note": 1}


async def test_a_ping_is_answered_at_once(side: Side) -> None:
    assert side.take("ping")
    assert side.answers() == [{"type": "pong", "payload": None, "reply_to": "7"}]


@pytest.mark.parametrize("type_", ["slow.x", "unknown.x"])
async def test_what_has_no_prompt_feature_is_left_and_not_counted(side: Side, type_: str) -> None:
    assert not side.take(type_)
    assert (side.answers(), side.connection.inflow.frames) == ([], 0)
    assert not dict(side.received.items())


async def test_what_has_to_wait_counts_once_against_the_limit() -> None:
    side = Side(
        messages_per_second=0.001, messages_burst=2, bytes_per_second=0.001, bytes_burst=100
    )
    side.outcome = LATER
    for _ in range(10):
        assert not side.take()
    side.outcome = None
    assert [side.take() and side.answers()[-1]["type"] for _ in range(3)] == ["ok", "ok", "error"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Problem(409, "taken", "no"), "taken"), (KeyError("hush"), "internal_error")],
)
async def test_a_feature_that_fails_is_an_error_for_the_sender(
    side: Side, fault: Exception, code: str
) -> None:
    side.outcome = fault
    assert side.take()
    [answer] = side.answers()
    assert (answer["type"], answer["payload"]["code"], answer["reply_to"]) == ("error", code, "7")
    assert "hush" not in answer["payload"]["message"]


async def test_what_is_no_message_is_told_at_once(side: Side) -> None:
    assert side.door.take_now(side.connection, masked(b"{"))
    assert side.door.take_now(side.connection, masked(b'{"type": 5, "id": "8"}'))
    codes = [(one["payload"]["code"], one.get("reply_to")) for one in side.answers()]
    assert codes == [("parse_error", None), ("invalid_message", "8")]


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b'{"type": "note.x", "payload": "%s"}' % (b"x" * PROMPT_BYTES)]
)
async def test_what_aiohttp_does_better_is_left_to_it(side: Side, data: bytes) -> None:
    assert not side.door.take_now(side.connection, masked(data))
    assert (side.answers(), side.connection.inflow.frames) == ([], 0)


async def test_nothing_is_taken_of_a_connection_that_is_closing(side: Side) -> None:
    side.connection.disconnect(REVOKED)
    assert not side.take()


async def test_nothing_is_taken_while_too_many_wait_for_the_disk(side: Side) -> None:
    side.connection.inflow.outstanding = MAX_OUTSTANDING
    assert not side.take()
    side.connection.inflow.settle()
    assert side.take()


async def test_nothing_is_taken_while_the_outbox_is_full(side: Side) -> None:
    side.wire.unread = 1
    while not side.connection.full:
        assert side.take()
    assert not side.take()


async def test_who_goes_on_above_the_limit_is_cut_off() -> None:
    side = Side(messages_per_second=0.001, messages_burst=2, bytes_per_second=0, bytes_burst=1)
    for _ in range(5):
        assert side.take()
    assert side.connection.closing is not None
    assert side.connection.closing.close is RATE_LIMIT
    assert [one["type"] for one in side.answers()] == ["ok", "ok", "error", "error"]


async def test_a_fault_of_ours_ends_the_connection_and_no_other(side: Side, caplog) -> None:
    side.outcome = object()
    assert side.take()
    assert side.connection.closing is not None
    assert [record.getMessage() for record in caplog.records] == ["connection failed"]
