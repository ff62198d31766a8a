"""The way in: counting, limits, one answer for each message, whatever a feature does."""

import asyncio
import logging
from typing import Any

import pytest

from app.base.errors import Problem
from app.features.feature import Accepted, Reply, Storing
from app.node.inflow import MAX_OUTSTANDING, RateLimit
from app.node.tails import Tail, Types
from app.protocol.close import RATE_LIMIT, Selector
from app.protocol.messages import MessageError
from app.protocol.notes import Note
from app.protocol.position import PLAIN
from app.streams.committer import Stored
from tests.features.sides import Side


def answering(outcome: Any) -> Side:
    """A side whose feature `note` answers with this at once, and `late` later."""

    def note(connection: Any, message: Any) -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def late(connection: Any, message: Any) -> Any:
        return note(connection, message)

    return Side({"note": note, "late": late})


async def test_a_message_is_counted_handled_and_answered_at_once() -> None:
    side = answering(Accepted([5]))
    side.say("note.x")
    assert side.answers() == [{"type": "ok", "payload": {"delivered": [5]}, "reply_to": "7"}]
    assert (side.connection.inflow.frames, side.connection.inflow.heard_at) == (1, 7.0)
    assert dict(side.metrics.received.items()) == {"note": 1}


async def test_a_ping_is_answered_at_once_with_its_id_or_without() -> None:
    side = Side({})
    side.say("ping")
    side.say("ping", id=None)
    assert side.answers() == [
        {"type": "pong", "payload": None, "reply_to": "7"},
        {"type": "pong", "payload": None},
    ]


async def test_the_whole_prefix_must_match() -> None:
    side = answering(None)
    side.say("notes.x")
    side.say("note")
    assert side.told() == [("7", "unknown_type"), ("7", "ok")]


async def test_only_known_prefixes_become_names_of_a_metric() -> None:
    side = answering(None)
    for type_ in ("ping", "note.x", "note.y", "evil1.x", "evil2.x"):
        side.say(type_)
    assert dict(side.metrics.received.items()) == {"ping": 1, "note": 2, "unknown": 2}


@pytest.mark.parametrize("feature", ["note", "late"])
async def test_a_message_without_an_id_is_answered_only_by_a_reply(feature: str) -> None:
    for outcome, answers in (
        (None, []),
        (Accepted([1]), []),
        (Reply("note.read", 5), ["note.read"]),
    ):
        side = answering(outcome)
        side.say(f"{feature}.x", id=None)
        await side.settled()
        assert [one["type"] for one in side.answers()] == answers


@pytest.mark.parametrize("feature", ["note", "late"])
@pytest.mark.parametrize("refusal", [MessageError("full", "no"), Problem(409, "full", "no")])
async def test_a_refusal_becomes_an_error_with_its_code(feature: str, refusal: Any) -> None:
    side = answering(refusal)
    side.say(f"{feature}.x")
    await side.settled()
    assert side.answers() == [
        {"type": "error", "payload": {"code": "full", "message": "no"}, "reply_to": "7"}
    ]


WRONG = {
    "a dict": {"a": 1},
    "a text": "done",
    "true": True,
    "an object": object(),
    "a class": Reply,
    "a set in a reply": Reply("note.read", {"ids": {1, 2}}),
    "keys that are numbers": Reply("note.read", {1: "a"}),
    "an integer of 70 bits": Reply("note.read", 1 << 70),
    "half of a pair": Reply("note.read", "\ud800"),
    "a type that is no text": Reply(5, None),
    "devices that are no list": Accepted({1, 2}),
    "an exception": KeyError("hush"),
    "a cancellation": asyncio.CancelledError(),
    "several exceptions": BaseExceptionGroup("hush", [KeyError("hush"), asyncio.CancelledError()]),
    "a refusal that cannot be told": Problem(400, {1, 2}, "no"),
}


@pytest.mark.parametrize("feature", ["note", "late"])
@pytest.mark.parametrize("outcome", WRONG.values(), ids=WRONG)
async def test_what_is_no_answer_is_one_internal_error_and_one_line(
    feature: str, outcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    side = answering(outcome)
    with caplog.at_level(logging.INFO):
        side.say(f"{feature}.x", "payload")
        await side.settled()
    assert side.told() == [("7", "internal_error")]
    assert "hush" not in side.answers()[0]["payload"]["message"]
    [line] = caplog.records
    assert line.fields["connection"] == "c-1"
    assert "payload" not in line.getMessage()
    assert not side.connection.is_closing()


async def test_an_awaitable_of_an_awaitable_is_an_internal_error() -> None:
    async def inner() -> None:
        raise AssertionError("never awaited")

    async def outer(connection: Any, message: Any) -> Any:
        return inner()

    side = Side({"note": outer})
    side.say("note.x")
    await side.settled()
    assert side.told() == [("7", "internal_error")]


@pytest.mark.parametrize("feature", ["note", "late"])
async def test_a_durable_message_is_answered_when_it_is_stored(feature: str) -> None:
    done: list[Any] = []
    side = answering(Storing(done.append))
    side.say(f"{feature}.x")
    await side.settled()
    assert (side.answers(), side.connection.inflow.outstanding) == ([], 1)
    done[0](Stored("e", 4, False, [5]))
    assert side.connection.inflow.outstanding == 0
    assert side.answers() == [
        {"type": "ok", "payload": {"delivered": [5], "epoch": "e", "offset": 4}, "reply_to": "7"}
    ]


async def test_a_durable_message_that_cannot_wait_for_the_disk_is_refused() -> None:
    def refuse(done: Any) -> None:
        raise Problem(503, "overloaded", "no")

    side = answering(Storing(refuse))
    side.say("note.x")
    assert side.told() == [("7", "overloaded")]
    assert side.connection.inflow.outstanding == 0


async def test_what_is_no_message_is_told_at_once() -> None:
    side = Side({})
    for text in ("{", '{"type": 5, "id": "8"}'):
        side.door.handle(side.connection, text, len(text))
    assert side.told() == [(None, "parse_error"), ("8", "invalid_message")]


async def test_a_message_over_the_limit_is_dropped_and_stays_charged() -> None:
    limit = RateLimit(
        messages_per_second=0.001, messages_burst=3, bytes_per_second=0, bytes_burst=1
    )
    side = Side({"note": lambda *_: None}, limit=limit)
    for _ in range(6):
        side.say("note.x")
    assert [code for _, code in side.told()] == ["ok"] * 3 + ["rate_limited"] * 3
    side.say("note.x")
    assert side.connection.closing is not None
    assert side.connection.closing.close is RATE_LIMIT


async def test_headers_of_frames_are_charged_as_well() -> None:
    limit = RateLimit(
        messages_per_second=0, messages_burst=100, bytes_per_second=0.001, bytes_burst=100
    )
    side = Side({}, limit=limit)
    for _ in range(16):
        side.door.take_pong(side.connection, b"")
    assert side.told() == []
    side.door.take_pong(side.connection, b"")
    assert side.told() == [(None, "rate_limited")]


async def test_reading_pauses_while_too_many_wait_for_the_disk_or_the_outbox_is_full() -> None:
    side = Side({"note": lambda *_: None}, outbox=2)
    side.connection.inflow.outstanding = MAX_OUTSTANDING
    assert side.connection.full
    side.connection.inflow.settle()
    assert not side.connection.full
    side.wire.unread = 1
    while not side.connection.full:
        side.say("note.x")
    assert side.connection.backlog == 2


async def test_a_fault_of_the_door_ends_the_connection_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    side = Side({})
    monkeypatch.setattr("app.features.door.decode", lambda text: 1 / 0)
    side.say("note.x")
    assert side.connection.is_closing()
    assert "connection failed" in caplog.text


async def test_whoever_follows_a_connection_sees_what_comes_in_before_its_answer() -> None:
    side = answering(Accepted([5]))
    side.node.enter(side.connection, PLAIN)
    tail = Tail(Selector(user_id=1), Types())
    async with side.node.tail(tail):
        side.say("note.x", {"secret": 1})
        side.door.take_text(side.connection, "no JSON")
        side.door.drop(side.connection, Note("too_large", "too large", "note.y", "8"))
        found = await tail.take(0)
    assert [(one.what, one.type, one.id) for one in found] == [
        ("in", "note.x", "7"),
        ("out", "ok", "7"),
        ("in", "", None),
        ("out", "error", None),
        ("in", "note.y", "8"),
        ("out", "error", "8"),
    ]
    assert [one.reason for one in found if one.reason] == ["too_large"]
    assert all(one.payload is None for one in found)
    side.say("note.z")
    assert await tail.take(0) == []


async def test_a_connection_that_nobody_follows_is_handled_as_ever_beside_one() -> None:
    side = answering(Accepted([5]))
    other = side.beside()
    for one in (side, other):
        one.node.enter(one.connection, PLAIN)
    tail = Tail(Selector(user_id=1), Types())
    async with side.node.tail(tail):
        other.say("note.x")
        assert await tail.take(0) == []
    assert [one["type"] for one in other.answers()][1:] == ["ok"]
