"""A positioned listener on a socket: what it asks for, shows and acknowledges."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from app.listen.signing import ListenEnded
from tests.listen.conftest import World, connected, note, position, started

GONE = (1001, b"shutting_down")
OVER = (1000, b"signed_out")


def shown(world: World) -> list[str]:
    return [message["payload"]["text"] for message in world.screen.messages]


async def heard(world: World) -> list[dict[str, Any]]:
    """Return what the server received from the listener."""
    await world.server.close()
    return [json.loads(world.received.get_nowait()) for _ in range(world.received.qsize())]


async def test_it_comes_back_where_it_was_and_shows_nothing_twice(world: World) -> None:
    world.meets(
        world.sends(started("live", 4), note("5", offset=5), position(8)),
        world.sends(started("resumed", 8), note("8", offset=8), note("9", offset=9), close=GONE),
    )
    await world.listen(count=2, start="live")
    assert world.queries == [{"resume": "live"}, {"epoch": "e", "offset": "8"}]
    assert shown(world) == ["5", "9"]


async def test_a_connection_lost_before_its_position_begins_as_it_was_asked_to(
    world: World,
) -> None:
    world.meets(
        world.sends(started("resumed", 4), note("state", offset=2, snapshot=True)),
        world.sends(started("resumed", 4), note("5", offset=5), close=GONE),
    )
    await world.listen(count=2, start="cursor")
    assert world.queries == [{"snapshot": "1"}] * 2
    assert shown(world) == ["state", "5"]


async def test_an_offset_costs_one_visit_to_hear_the_epoch(world: World) -> None:
    world.meets(
        world.sends(started("live", 90), note("state", offset=80, snapshot=True), close=GONE),
        world.sends(started("resumed", 17), note("18", offset=18), close=GONE),
    )
    await world.listen(count=1, start=17)
    assert world.queries == [{"resume": "live"}, {"epoch": "e", "offset": "17"}]
    assert shown(world) == ["18"]
    assert world.pauses == []
    assert len([one for one in world.screen.states if one.startswith("Connected")]) == 1


async def test_a_reset_is_told_clearly_and_it_goes_on_from_there(world: World) -> None:
    world.meets(
        world.sends(started("live", 700), position(700), close=GONE),
        world.sends(started("reset", 4, epoch="new"), position(4, "new"), close=GONE),
        world.sends(started("resumed", 4, epoch="new"), note("5", offset=5), close=GONE),
    )
    await world.listen(count=1, start="live")
    assert world.queries[1:] == [{"epoch": "e", "offset": "700"}, {"epoch": "new", "offset": "4"}]
    [told] = [one for one in world.screen.states if one.startswith("Reset")]
    assert "position 700" in told
    assert "fetch your state again" in told


async def test_after_a_reset_for_age_what_is_kept_is_shown_as_replayed(world: World) -> None:
    world.meets(
        world.sends(started("live", 7), position(7), close=GONE),
        world.sends(started("reset", 7, 20), note("16", offset=16, replayed=True), close=GONE),
        world.sends(
            started("resumed", 16, 21),
            *(note(str(offset), offset=offset) for offset in (17, 20, 21)),
            close=GONE,
        ),
    )
    await world.listen(count=4, start="live")
    assert world.queries[1:] == [{"epoch": "e", "offset": "7"}, {"epoch": "e", "offset": "16"}]
    assert shown(world) == ["16", "17", "20", "21"]
    marked = [message.get("replayed", False) for message in world.screen.messages]
    assert marked == [True, True, True, False]
    [told] = [one for one in world.screen.states if one.startswith("Reset")]
    assert told == (
        "Reset: some of what followed position 7 was removed. What is kept follows, "
        "replayed up to 20; fetch your state again."
    )


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (started("resumed", 4, 9), "Resumed above 4; the newest is 9."),
        (started("live", 9), "Live: nothing to resume, the newest is 9."),
    ],
)
async def test_it_says_where_it_starts(world: World, first: dict[str, Any], sentence: str) -> None:
    world.meets(world.sends(first, note("x", offset=10), close=GONE))
    await world.listen(count=1, start="cursor")
    assert sentence in world.screen.states


async def test_a_plain_one_asks_for_nothing_and_says_nothing_of_positions(world: World) -> None:
    world.meets(world.sends(started("live", 9), note("x"), close=GONE))
    await world.listen(count=1)
    assert world.queries == [{}]
    assert len(world.screen.states) == 1


def ack(offset: int) -> dict[str, Any]:
    return {"type": "ack", "payload": {"offset": offset}}


async def test_what_was_shown_is_acknowledged_at_once_and_before_it_leaves(world: World) -> None:
    async def visit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(started("resumed", 4))
        await socket.send_json(note("5", offset=5))
        world.received.put_nowait(await socket.receive_str())
        await socket.send_json(note("6", offset=6))
        async for frame in socket:
            world.received.put_nowait(frame.data)
        return socket

    world.meets(visit)
    await world.listen(count=2, start="cursor", acknowledge=True)
    assert await heard(world) == [ack(5), ack(6)]


async def test_many_messages_are_acknowledged_by_a_few(world: World) -> None:
    async def visit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(started("resumed", 0))
        for offset in range(1, 101):
            await socket.send_json(note(offset=offset))
            while len(world.screen.messages) < offset:  # noqa: ASYNC110
                await asyncio.sleep(0)
        async for frame in socket:
            world.received.put_nowait(frame.data)
        return socket

    world.meets(visit)
    await world.listen(count=100, start="cursor", acknowledge=True)
    acks = await heard(world)
    assert acks[-1] == ack(100)
    assert len(acks) < 50


async def test_a_position_alone_is_acknowledged_too(world: World) -> None:
    world.meets(world.keeps_what_it_hears(started("live", 4), position(6), note("x")))
    await world.listen(count=1, start="cursor", acknowledge=True)
    assert await heard(world) == [ack(6)]


async def test_during_a_snapshot_nothing_is_acknowledged(world: World) -> None:
    state = note("state", offset=3, snapshot=True)
    world.meets(world.keeps_what_it_hears(started("resumed", 4), state, note("x")))
    await world.listen(count=2, start="cursor", acknowledge=True)
    assert await heard(world) == []


async def test_what_could_not_be_shown_is_not_acknowledged(world: World) -> None:
    world.meets(world.keeps_what_it_hears(started("resumed", 4), note("x", offset=5)))

    def closed(text: str, message: dict[str, Any]) -> None:
        raise BrokenPipeError

    world.screen.message = closed  # type: ignore[method-assign]
    with pytest.raises(BrokenPipeError):
        await world.listen(start="cursor", acknowledge=True)
    assert await heard(world) == []


async def test_without_being_asked_to_it_acknowledges_nothing(world: World) -> None:
    world.meets(world.keeps_what_it_hears(started("resumed", 4), note("x", offset=5)))
    await world.listen(count=1, start="cursor")
    assert await heard(world) == []


async def test_a_kept_note_is_sent_again_with_its_id_until_it_is_answered(world: World) -> None:
    ok = {"type": "ok", "reply_to": "typed-1", "payload": {"delivered": [], "offset": 7}}
    world.meets(world.hears(1, close=GONE), world.hears(1, ok, close=GONE), world.hears(1))
    world.lines.put_nowait("Dinner!")

    def typed_while_away() -> None:
        if len(world.pauses) == 2:
            world.lines.put_nowait("late")

    world.on_pause = typed_while_away
    await world.listen(count=1, kept="log")
    first, second, third = [world.received.get_nowait() for _ in range(3)]
    assert first == second
    assert json.loads(first)["payload"]["message_id"]
    assert json.loads(third)["payload"]["payload"] == {"text": "late"}
    assert "Kept at 7. No other device is connected." in world.screen.states


async def test_notes_wait_as_long_as_the_server_says_and_keep_their_order(world: World) -> None:
    full = {"code": "too_many_ids", "message": "Full.", "retry_after_ms": 5_400_000}

    async def visit(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(connected())
        for _ in range(2):
            world.received.put_nowait(await socket.receive_str())
        for number in ("typed-1", "typed-2"):
            await socket.send_json({"type": "error", "reply_to": number, "payload": full})
        for _ in range(4):
            world.received.put_nowait(await socket.receive_str())
        await socket.send_json(note())
        return socket

    def typed_meanwhile() -> None:
        world.lines.put_nowait('{"type":"ping"}')
        world.lines.put_nowait("3")

    async def until_typed() -> None:
        # It is sent while the notes wait, since it is none.
        while world.received.qsize() < 3 or len(world.screen.states) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)

    world.on_pause = typed_meanwhile
    world.during_pause = until_typed
    world.meets(visit)
    for text in ("1", "2"):
        world.lines.put_nowait(text)
    await world.listen(count=1, kept="log")
    heard = [json.loads(world.received.get_nowait()) for _ in range(6)]
    assert [one["payload"]["payload"]["text"] for one in heard[:2]] == ["1", "2"]
    assert heard[2]["type"] == "ping"
    assert heard[3:5] == heard[:2]
    assert heard[5]["payload"]["payload"]["text"] == "3"
    assert world.pauses == [5400]


async def test_its_own_frames_are_given_to_the_screen_apart(world: World) -> None:
    world.meets(world.sends(started("live", 4), position(4), close=OVER))
    with pytest.raises(ListenEnded):
        await world.listen(start="live")
    assert [frame["type"] for frame in world.screen.frames] == ["connected", "position"]
    assert world.screen.messages == []
