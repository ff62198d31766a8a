"""What a listener carries between connections: its position, and notes without an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.listen.recovery import PLAIN, Progress, Start, Typed
from app.protocol.position import Position


def resume(outcome: str, offset: int, epoch: str = "e", head: int = 0) -> dict[str, Any]:
    return {"outcome": outcome, "epoch": epoch, "offset": offset, "head": max(head, offset)}


def durable(offset: int, **more: Any) -> dict[str, Any]:
    return {"type": "note.text", "payload": None, "offset": offset, **more}


def at(offset: int, epoch: str = "e") -> Progress:
    """Return the progress of a positioned listener that has everything up to this offset."""
    progress = Progress("live")
    progress.connected(resume("live", offset, epoch))
    progress.reached({"epoch": epoch, "offset": offset, "live": True})
    return progress


@pytest.mark.parametrize(
    ("start", "query"),
    [
        (PLAIN, {}),
        ("live", {"resume": "live"}),
        ("cursor", {"snapshot": "1"}),
        (17, {"resume": "live"}),
    ],
)
def test_each_beginning_is_asked_for_in_its_own_way(start: Start, query: dict[str, str]) -> None:
    assert Progress(start).query() == query


def test_an_offset_is_asked_for_in_the_epoch_that_was_heard_first() -> None:
    progress = Progress(17)
    assert not progress.connected(resume("live", 90))
    assert progress.query() == {"epoch": "e", "offset": "17"}
    assert progress.connected(resume("resumed", 17))
    assert progress.is_new(durable(18))


@pytest.mark.parametrize("start", ["live", "cursor"])
def test_it_comes_back_with_the_offset_of_what_it_showed_last(start: Start) -> None:
    progress = Progress(start)
    assert progress.connected(resume("live", 5))
    progress.shown(durable(7))
    assert progress.query() == {"epoch": "e", "offset": "7"}


def test_a_plain_one_names_no_position_and_still_takes_nothing_twice() -> None:
    progress = Progress()
    progress.connected(resume("resumed", 5))
    progress.shown(durable(7))
    assert progress.query() == {}
    progress.connected(resume("resumed", 5))
    assert not progress.is_new(durable(7))
    assert progress.is_new(durable(8))


def test_what_is_not_above_the_position_is_old() -> None:
    progress = at(7)
    assert [offset for offset in range(5, 10) if progress.is_new(durable(offset))] == [8, 9]
    assert progress.is_new({"type": "note.text", "payload": None})


def test_a_position_moves_over_what_is_for_others() -> None:
    progress = at(7)
    progress.reached({"epoch": "e", "offset": 12, "live": True})
    assert progress.position == Position("e", 12)
    assert not progress.is_new(durable(12))


def test_a_position_below_takes_nothing_back() -> None:
    progress = at(7)
    progress.reached({"epoch": "e", "offset": 3, "live": True})
    assert progress.position == Position("e", 7)


def test_the_text_is_the_one_that_was_told_last() -> None:
    progress = at(7)
    progress.reached({"epoch": "e.2", "offset": 9, "live": True})
    progress.shown(durable(10))
    assert progress.position == Position("e.2", 10)


def test_what_was_resumed_under_another_text_takes_nothing_twice() -> None:
    progress = at(7)
    assert progress.connected(resume("resumed", 7, "e.2"))
    assert not progress.is_new(durable(7))
    progress.shown(durable(8))
    assert progress.position == Position("e.2", 8)


def test_a_plain_one_takes_what_a_cursor_gives_it_under_another_text() -> None:
    progress = Progress()
    progress.connected(resume("live", 5))
    progress.shown(durable(7))
    progress.connected(resume("resumed", 5, "e.2"))
    assert progress.is_new(durable(6)), "the numbers may be those of a copy that was put back"


def test_a_snapshot_is_always_new_and_moves_nothing() -> None:
    progress = Progress("cursor")
    progress.connected(resume("resumed", 5))
    old = durable(3, snapshot=True)
    assert progress.is_new(old)
    progress.shown(old)
    assert progress.position is None
    assert progress.acknowledgeable is None
    assert progress.query() == {"snapshot": "1"}


def test_after_a_snapshot_what_was_missed_is_new_also_when_the_snapshot_had_it() -> None:
    progress = Progress("cursor")
    progress.connected(resume("resumed", 5))
    progress.shown(durable(8, snapshot=True))
    assert progress.is_new(durable(6))
    assert progress.is_new(durable(8))


def test_a_reset_keeps_the_old_position_until_the_new_one_is_told() -> None:
    progress = at(700, "old")
    assert progress.connected(resume("reset", 4, "new"))
    assert progress.is_new(durable(2, snapshot=True))
    assert progress.position == Position("old", 700)
    assert progress.acknowledgeable is None
    progress.reached({"epoch": "new", "offset": 4, "live": True})
    assert progress.position == progress.acknowledgeable == Position("new", 4)
    assert progress.is_new(durable(5))


def test_a_reset_for_age_goes_on_at_its_own_position_and_tells_replays_from_news() -> None:
    progress = at(7)
    assert progress.connected(resume("reset", 7, "e.2", head=20))
    assert progress.position == Position("e", 7)
    assert not progress.is_new(durable(7))
    assert not progress.is_replay(durable(3, snapshot=True))
    assert progress.acknowledgeable is None
    replayed = durable(16, replayed=True)
    assert progress.is_new(replayed)
    assert progress.is_replay(replayed)
    progress.shown(replayed)
    assert progress.position == progress.acknowledgeable == Position("e.2", 16)
    assert not progress.is_replay(durable(21))


def test_a_replay_that_broke_off_goes_on_as_one_until_the_head_that_was_told() -> None:
    progress = at(7)
    progress.connected(resume("reset", 7, head=20))
    progress.shown(durable(16, replayed=True))
    progress.connected(resume("resumed", 16, "e.3", head=25))
    assert [progress.is_replay(durable(offset)) for offset in (17, 20, 21)] == [True, True, False]


@pytest.mark.parametrize("outcome", ["live", "reset"])
def test_after_another_beginning_nothing_is_a_replay(outcome: str) -> None:
    progress = at(7)
    progress.connected(resume("reset", 7, head=20))
    progress.connected(resume(outcome, 4, "new"))
    assert not progress.is_replay(durable(5))


def test_a_plain_one_that_a_cursor_resets_takes_nothing_twice() -> None:
    progress = Progress()
    progress.connected(resume("live", 5))
    progress.shown(durable(7))
    progress.connected(resume("reset", 5, head=9))
    assert not progress.is_new(durable(7, replayed=True))
    assert progress.is_new(durable(9, replayed=True))


def test_after_a_reset_within_the_epoch_lower_offsets_are_new() -> None:
    progress = at(700)
    progress.connected(resume("reset", 4))
    assert progress.is_new(durable(5))


@given(st.lists(st.integers(1, 30)), st.sets(st.integers(0, 60)))
def test_over_reconnects_each_is_shown_once_and_in_order(
    offsets: list[int], cuts: set[int]
) -> None:
    stream = sorted(set(offsets))
    progress = Progress(0)
    progress.connected(resume("live", 0))
    shown: list[int] = []
    step = 0
    while True:
        after = int(progress.query()["offset"])
        progress.connected(resume("resumed", after))
        # A server may repeat; a client must not mind.
        for offset in [one for one in stream if one >= after]:
            if step in cuts:
                cuts.discard(step)
                break
            step += 1
            if progress.is_new(durable(offset)):
                shown.append(offset)
                progress.shown(durable(offset))
        else:
            break
    assert shown == stream


# Typed lines


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


def full(number: str, milliseconds: int = 5_400_000) -> dict[str, Any]:
    told = {"code": "too_many_ids", "message": "Full.", "retry_after_ms": milliseconds}
    return {"type": "error", "reply_to": number, "payload": told}


def test_a_note_for_which_there_is_no_space_yet_is_kept_and_so_are_those_behind_it() -> None:
    typed = Typed("log")
    first = sent(typed, "1")
    assert typed.answer(full(first["id"])) == "Full. This note goes out by itself then."
    assert typed.hold_seconds == 5400
    second = sent(typed, "2")
    waiting = list(typed.unanswered.values())
    assert [json.loads(one) for one in waiting] == [first, second]
    assert all(map(typed.has_to_wait, waiting))
    assert not typed.has_to_wait('{"type":"ping"}')
    typed.release()
    assert not any(map(typed.has_to_wait, waiting))


def test_a_note_above_a_limit_of_its_user_is_kept_until_there_is_room_again() -> None:
    typed = Typed("log")
    note = sent(typed)
    refusal = full(note["id"], 10)
    refusal["payload"]["code"] = "rate_limited"
    typed.answer(refusal)
    assert typed.hold_seconds == 0.01
    assert list(typed.unanswered) == [note["id"]]


def test_a_note_that_is_not_kept_does_not_wait_for_space() -> None:
    typed = Typed()
    assert typed.answer(full(sent(typed)["id"])) == "Refused: Full.."
    assert typed.hold_seconds is None


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "busy",
            "Refused: the server has too many messages waiting and did nothing. Type it again.",
        ),
        ("timed_out", "Timed out: whether the server passed this on is unknown."),
    ],
)
def test_a_note_that_a_busy_server_got_tells_whether_it_was_passed_on(
    code: str, sentence: str
) -> None:
    typed = Typed()
    payload = {"code": code, "message": "any"}
    assert typed.answer({"type": "error", "reply_to": sent(typed)["id"], "payload": payload}) == (
        sentence
    )


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
