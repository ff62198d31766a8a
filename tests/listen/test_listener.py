"""A listener: what it shows, what it sends, and when it comes back."""

import json
from typing import Any

import pytest

from app.listen.recovery import may_come_back
from app.listen.signing import ListenEnded
from app.protocol.close import CLOSES
from tests.listen.conftest import TOKEN, World, connected, note

GONE = (1001, b"shutting_down")


async def test_it_presents_its_token_and_its_instance(world: World) -> None:
    world.meets(world.sends(connected(), note(), close=GONE))
    await world.listen(count=1)
    [request] = world.requests
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.query == {"instance": "default"}
    assert TOKEN not in str(request.url)


async def test_it_ends_after_the_number_of_messages_asked_for(world: World) -> None:
    world.meets(world.sends(connected(), note("1"), note("2"), note("3"), close=GONE))
    await world.listen(count=2)
    assert [message["payload"]["text"] for message in world.screen.messages] == ["1", "2"]


async def test_frames_for_the_client_itself_are_no_messages(world: World) -> None:
    position = {"type": "position", "payload": {"epoch": "e", "offset": 0, "live": True}}
    world.meets(world.sends(connected(), position, note(), close=GONE))
    await world.listen(count=1)
    assert world.screen.messages == [note()]
    assert world.screen.states[0].endswith("as device 1, instance default.")


async def test_an_error_of_the_server_is_shown(world: World) -> None:
    error = {"type": "error", "payload": {"code": "rate_limited", "message": "slow down"}}
    world.meets(world.sends(connected(), error, close=GONE))
    await world.listen(count=1)
    assert world.screen.messages == [error]


async def sent(world: World, line: str) -> dict[str, Any]:
    world.meets(world.hears(1))
    world.lines.put_nowait(line)
    await world.listen(count=1)
    message: dict[str, Any] = json.loads(world.received.get_nowait())
    return message


@pytest.mark.parametrize("line", ["Dinner!", "[1, 2]", '"type"', "[off] to bed", "3"])
async def test_a_line_that_is_no_message_goes_to_the_others_as_a_note(
    world: World, line: str
) -> None:
    message = await sent(world, line + "\r")
    assert message["type"] == "device.send"
    assert message["payload"] == {"to": "others", "type": "note.text", "payload": {"text": line}}


async def test_a_line_that_is_a_message_goes_as_it_is(world: World) -> None:
    assert await sent(world, '{"type": "ping", "id": "7"}') == {"type": "ping", "id": "7"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "it is not JSON"),
        ('{"type": "note.text", "payload": {"text": "hi"}', "it is not JSON"),
        ("{'type': 'ping'}", "it is not JSON"),
        ('{"type": "ping"} {"type": "ping"}', "it is not JSON"),
        ('{"a": 1}', 'a message has a "type"'),
        ('{"type": 7}', 'a message has a "type"'),
    ],
)
async def test_a_line_that_begins_like_a_message_and_is_none_is_not_sent(
    world: World, line: str, reason: str
) -> None:
    world.lines.put_nowait(line)
    assert (await sent(world, "x"))["payload"]["payload"] == {"text": "x"}
    [told] = [state for state in world.screen.states if state.startswith("Not sent: ")]
    assert reason in told
    assert told.endswith("; begin the line with a space to send it as text.")


async def test_a_line_that_is_not_utf8_is_not_sent(world: World) -> None:
    world.lines.put_nowait(b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert (await sent(world, "x"))["payload"]["payload"] == {"text": "x"}
    assert "Not sent: it is not UTF-8." in world.screen.states


async def test_a_line_after_a_space_is_text_whatever_it_looks_like(world: World) -> None:
    assert (await sent(world, " {:-)"))["payload"]["payload"] == {"text": "{:-)"}


async def test_an_empty_line_is_not_sent(world: World) -> None:
    world.lines.put_nowait("  ")
    assert (await sent(world, "x"))["payload"]["payload"] == {"text": "x"}


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"type": "ok", "payload": {"delivered": [2, 3]}}, "Delivered to device 2, 3."),
        ({"type": "ok", "payload": {"delivered": []}}, "No other device is connected."),
        ({"type": "error", "payload": {"code": "x", "message": "no"}}, "Refused: no."),
    ],
)
async def test_the_answer_to_a_typed_line_is_told_and_is_no_message(
    world: World, answer: dict[str, Any], sentence: str
) -> None:
    world.meets(world.hears(1, {**answer, "reply_to": "typed-1"}))
    world.lines.put_nowait("hello")
    await world.listen(count=1)
    assert sentence in world.screen.states
    assert world.screen.messages == [note()]


async def test_a_line_typed_while_away_is_sent_on_the_next_connection(world: World) -> None:
    world.meets(world.sends(connected(), close=GONE), world.hears(1))
    world.on_pause = lambda: world.lines.put_nowait("late")
    await world.listen(count=1)
    assert "late" in world.received.get_nowait()


async def test_a_line_cut_off_on_its_way_is_sent_again(world: World) -> None:
    world.meets(world.cuts_without_reading(), world.hears(1))
    world.lines.put_nowait("x" * 16_000_000)
    await world.listen(count=1)
    assert len(world.requests) == 2
    assert "x" * 16_000_000 in world.received.get_nowait()


# Coming back


@pytest.mark.parametrize("close", [one for one in CLOSES if one.reconnect], ids=lambda c: c.reason)
async def test_it_comes_back_after_what_allows_it(world: World, close: Any) -> None:
    first = world.sends(connected(), close=(close.code, close.reason.encode()))
    world.meets(first, world.sends(connected(), note(), close=GONE))
    await world.listen(count=1)
    assert len(world.requests) == 2
    assert f"{close.code} {close.reason}: {close.meaning}" in world.screen.states[1]


@pytest.mark.parametrize(
    "close", [one for one in CLOSES if not one.reconnect], ids=lambda c: c.reason
)
async def test_it_ends_after_what_forbids_coming_back(world: World, close: Any) -> None:
    world.meets(world.sends(connected(), close=(close.code, close.reason.encode())))
    with pytest.raises(ListenEnded, match=close.meaning):
        await world.listen()
    assert len(world.requests) == 1


async def test_it_comes_back_after_a_cut_line(world: World) -> None:
    world.meets(world.sends(connected()), world.sends(connected(), note(), close=GONE))
    await world.listen(count=1)
    assert len(world.requests) == 2


async def test_it_comes_back_when_the_server_falls_silent(world: World) -> None:
    world.meets(world.falls_silent(), world.sends(connected(), note(), close=GONE))
    await world.listen(count=1)
    assert "silent" in world.screen.states[1]


@pytest.mark.parametrize(
    ("code", "back"), [(1000, False), (1006, True), (1012, True), (4099, True), (4599, False)]
)
def test_a_code_unknown_to_us_is_judged_by_its_range(code: int, back: bool) -> None:
    assert may_come_back(code) is back


async def test_goaway_says_when_to_come_back(world: World) -> None:
    payload = {"reason": "shutting_down", "reconnect": True, "after_ms": 3000}
    goaway = {"type": "goaway", "payload": payload}
    world.meets(
        world.sends(connected(), goaway, close=GONE),
        world.sends(connected(), note(), close=GONE),
    )
    await world.listen(count=1, jitter=0.25)
    assert world.pauses == [3.25]


async def test_a_dead_session_ends_it_without_another_try(world: World) -> None:
    world.meets(world.refuses(401))
    with pytest.raises(ListenEnded, match="sign in again"):
        await world.listen()
    assert world.pauses == []


EXPIRED = (4501, b"session_expired")


async def test_it_comes_back_with_a_newer_token_when_one_has_ended(world: World) -> None:
    world.meets(
        world.sends(connected(), close=EXPIRED),
        world.refuses(401),
        world.sends(connected(), note(), close=GONE),
    )
    await world.listen(count=1, newer=["second", "third"])
    presented = [request.headers["Authorization"] for request in world.requests]
    assert presented == [f"Bearer {token}" for token in (TOKEN, "second", "third")]
    assert len(world.pauses) == 2


@pytest.mark.parametrize("newer", [[], [TOKEN], [None]], ids=str)
async def test_it_ends_when_a_token_has_ended_and_there_is_no_other(
    world: World, newer: list[str | None]
) -> None:
    world.meets(world.sends(connected(), close=EXPIRED))
    with pytest.raises(ListenEnded, match="4501"):
        await world.listen(newer=newer)
    assert world.pauses == []


async def test_no_newer_token_brings_it_back_after_it_was_revoked(world: World) -> None:
    world.meets(world.sends(connected(), close=(4502, b"revoked")))
    with pytest.raises(ListenEnded, match="4502"):
        await world.listen(newer=["second"])


async def test_a_newer_token_of_another_device_ends_it(world: World) -> None:
    world.meets(
        world.sends(connected(), close=EXPIRED),
        world.sends(connected(device_id=2), note(), close=GONE),
    )
    with pytest.raises(ListenEnded, match="another user's or device's"):
        await world.listen(newer=["second"])
    assert world.screen.messages == []


@pytest.mark.parametrize("status", [400, 403, 404, 426])
async def test_a_refusal_for_good_ends_it(world: World, status: int) -> None:
    world.meets(world.refuses(status))
    with pytest.raises(ListenEnded, match=str(status)):
        await world.listen()


async def test_a_busy_server_is_given_the_time_it_asks_for(world: World) -> None:
    world.meets(
        world.refuses(503, Retry_After="7"),
        world.refuses(429, Retry_After="soon"),
        world.sends(connected(), note(), close=GONE),
    )
    await world.listen(count=1, jitter=0.5)
    assert world.pauses == [7.5, 1.0]


async def test_pauses_double_up_to_a_limit_and_start_anew_once_connected(world: World) -> None:
    world.meets(
        world.sends(connected(), close=GONE),
        *[world.refuses(503)] * 7,
        world.sends(connected(), close=GONE),
        world.sends(connected(), note(), close=GONE),
    )
    await world.listen(count=1, jitter=1.0)
    assert world.pauses == [1, 2, 4, 8, 16, 30, 30, 30, 1]


@pytest.mark.parametrize("frame", [[], {}, {"type": 7}, "hello"])
async def test_what_speaks_otherwise_is_no_such_server(world: World, frame: Any) -> None:
    world.meets(world.sends(frame, close=GONE))
    with pytest.raises(ListenEnded, match="no Switchboard server"):
        await world.listen()


async def test_a_screen_that_fails_ends_it(world: World) -> None:
    world.meets(world.sends(connected(), note(), close=GONE))

    def closed(text: str, message: dict[str, Any]) -> None:
        raise BrokenPipeError

    world.screen.message = closed  # type: ignore[method-assign]
    with pytest.raises(BrokenPipeError):
        await world.listen()
    assert len(world.requests) == 1


async def test_a_server_that_is_not_there_at_first_ends_it(world: World) -> None:
    await world.server.close()
    with pytest.raises(ListenEnded, match="Cannot reach"):
        await world.listen()
