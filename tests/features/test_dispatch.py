"""From a message to one answer."""

import logging

import pytest

from app.base.errors import Problem
from app.base.metrics import PrefixCounter
from app.features.door import Dispatcher
from app.features.feature import Accepted, Reply
from app.protocol.messages import ClientMessage, MessageError


async def answer(handler, message: ClientMessage, connection=None):
    dispatcher = Dispatcher({"note": handler}, PrefixCounter())
    reply = await dispatcher.dispatch(connection, message)
    return None if reply is None else (reply.type, reply.payload, reply.reply_to)


async def nothing(connection, message):
    return None


async def test_ping_is_answered_with_pong() -> None:
    assert await answer(nothing, ClientMessage("ping")) == ("pong", None, None)
    assert await answer(nothing, ClientMessage("ping", id="7")) == ("pong", None, "7")


async def test_an_unowned_prefix_is_an_unknown_type() -> None:
    type_, payload, reply_to = await answer(nothing, ClientMessage("other.x", id="7"))
    assert (type_, payload["code"], reply_to) == ("error", "unknown_type", "7")


async def test_the_whole_prefix_must_match() -> None:
    assert (await answer(nothing, ClientMessage("notes.x")))[0] == "error"
    assert await answer(nothing, ClientMessage("note")) is None


async def test_a_message_with_an_id_has_exactly_one_answer() -> None:
    assert await answer(nothing, ClientMessage("note.x", id="7")) == ("ok", {"delivered": []}, "7")
    assert await answer(nothing, ClientMessage("note.x")) is None


async def test_a_feature_says_who_got_it() -> None:
    async def relay(connection, message):
        return Accepted([1, 2])

    assert await answer(relay, ClientMessage("note.x", id="7")) == (
        "ok",
        {"delivered": [1, 2]},
        "7",
    )


async def test_a_features_own_reply_stands_instead_of_ok() -> None:
    async def reply(connection, message):
        return Reply("note.read", message.payload)

    assert await answer(reply, ClientMessage("note.x", 5)) == ("note.read", 5, None)
    assert await answer(reply, ClientMessage("note.x", 5, "7")) == ("note.read", 5, "7")


@pytest.mark.parametrize("refusal", [MessageError("full", "no"), Problem(409, "full", "no")])
async def test_a_refusal_becomes_an_error_with_its_code(refusal) -> None:
    async def refuse(connection, message):
        raise refusal

    assert await answer(refuse, ClientMessage("note.x", id="7")) == (
        "error",
        {"code": "full", "message": "no"},
        "7",
    )


async def test_a_bug_is_an_internal_error_and_shows_nothing_of_itself(caplog) -> None:
    async def break_down(connection, message):
        raise KeyError("hush")

    with caplog.at_level(logging.ERROR):
        type_, payload, _ = await answer(break_down, ClientMessage("note.x", "payload"))
    assert (type_, payload["code"]) == ("error", "internal_error")
    assert "hush" not in payload["message"]
    assert len(caplog.records) == 1
    assert "payload" not in caplog.records[0].getMessage()


async def test_only_known_prefixes_become_names_of_a_metric() -> None:
    received = PrefixCounter()
    dispatcher = Dispatcher({"note": nothing}, received)
    for type_ in ("ping", "note.x", "note.y", "evil1.x", "evil2.x"):
        await dispatcher.dispatch(None, ClientMessage(type_))
    assert dict(received.items()) == {"ping": 1, "note": 2, "unknown": 2}
