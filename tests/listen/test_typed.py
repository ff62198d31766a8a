"""Typed lines: what they become, and until when they are sent again."""

import json
from typing import Any

from app.listen.typed import Typed


def sent(typed: Typed, line: str = "hello") -> dict[str, Any]:
    message = typed.message_of(line)
    assert message is not None
    decoded: dict[str, Any] = json.loads(message)
    return decoded


def test_a_kept_note_is_durable_and_has_an_id_of_its_own() -> None:
    typed = Typed("log")
    first, second = sent(typed), sent(typed)
    assert first["payload"]["store"] == "log"
    assert first["payload"]["message_id"] != second["payload"]["message_id"]
    assert first["id"] != second["id"]


def test_notes_of_two_runs_are_never_repeats_of_each_other() -> None:
    assert sent(Typed("log"))["payload"] != sent(Typed("log"))["payload"]


def test_a_kept_note_is_to_be_sent_again_until_it_was_answered() -> None:
    typed = Typed("log")
    first, second = sent(typed, "1"), sent(typed, "2")
    assert [json.loads(one) for one in typed.unanswered.values()] == [first, second]
    ok = {"type": "ok", "reply_to": first["id"], "payload": {"delivered": [], "offset": 7}}
    assert typed.answer(ok) == "Kept at 7. No other device is connected."
    assert [json.loads(one) for one in typed.unanswered.values()] == [second]


def test_a_refused_note_is_not_sent_again() -> None:
    typed = Typed("log")
    note = sent(typed)
    refusal = {"type": "error", "reply_to": note["id"], "payload": {"code": "x", "message": "no"}}
    assert typed.answer(refusal) == "Refused: no."
    assert not typed.unanswered


def test_a_repeat_that_had_arrived_before_is_told() -> None:
    typed = Typed("log")
    payload = {"delivered": [], "offset": 7, "duplicate": True}
    ok = {"type": "ok", "reply_to": sent(typed)["id"], "payload": payload}
    assert typed.answer(ok) == "Kept at 7 before. No other device is connected."


def test_a_note_that_is_not_kept_is_never_sent_again() -> None:
    typed = Typed()
    assert "message_id" not in sent(typed)["payload"]
    assert not typed.unanswered


def test_an_answer_to_a_message_of_the_persons_own_is_none_of_ours() -> None:
    assert Typed().answer({"type": "ok", "reply_to": "7", "payload": {"delivered": []}}) is None
    assert Typed().answer({"type": "ok", "reply_to": 7, "payload": None}) is None
