"""Durable messages over real sockets: stored, resumed, acknowledged, refused."""

from typing import Any

import pytest
from delivery_peers import append
from serving import NO_LIMITS, Device, Peer, RawPeer, Server, masked
from websockets.exceptions import InvalidStatus

from app.keys import DATABASE, METRICS, NODE
from app.node.inflow import MAX_OUTSTANDING
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToEveryone
from app.streams.maintenance import Maintenance

Message = dict[str, Any]


def note(number: int = 0, to: Any = "user", **more: Any) -> Message:
    return {"to": to, "type": "note.text", "payload": {"n": number}, "store": "log", **more}


async def answer_to(peer: Peer, id_: str = "ask") -> Message:
    """Return the answer with this id, skipping what comes before it."""
    while True:
        message = await peer.receive()
        if message.get("reply_to") == id_:
            return message


async def store(peer: Peer, number: int = 0, **more: Any) -> Message:
    await peer.send("device.send", note(number, **more), id="ask")
    answer = await answer_to(peer)
    assert answer["type"] == "ok", answer
    payload = answer["payload"]
    assert isinstance(payload, dict)
    return payload


async def resume(server: Server, device: Device, epoch: str, offset: int, more: str = "") -> Any:
    peer = await server.open(device, f"?epoch={epoch}&offset={offset}{more}")
    return peer, (await peer.receive())["payload"]["resume"]


async def upto_position(peer: Peer) -> tuple[list[Message], Message]:
    """Return what comes before the next `position`, and its payload."""
    messages = []
    while (message := await peer.receive())["type"] != "position":
        messages.append(message)
    return messages, message["payload"]


async def test_a_device_that_was_away_gets_what_it_missed(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    first = await store(sender, 1)
    await store(sender, 2, to="others")
    last = await store(sender, 3, to=laptop.device_id)
    text = server.app[NODE].log.numbering.text
    assert text != first["epoch"], "only what clients keep as a position names the generation"
    peer, start = await resume(server, laptop, text, 0)
    assert start == {
        "outcome": "resumed",
        "epoch": text,
        "offset": 0,
        "head": last["offset"],
    }
    missed, position = await upto_position(peer)
    assert [(one["offset"], one["payload"]["n"]) for one in missed] == [(1, 1), (2, 2), (3, 3)]
    assert missed[0]["from"] == {"device_id": phone.device_id, "instance": "default"}
    assert position == {"epoch": text, "offset": 3, "live": True}
    await store(sender, 4)
    assert (await peer.receive())["offset"] == 4


async def test_the_answer_says_who_got_it_and_moves_no_position_of_the_sender(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    stored = await store(sender, to="others")
    assert stored["delivered"] == [laptop.device_id]
    assert (await receiver.receive())["offset"] == stored["offset"]
    await sender.silence()


async def test_the_cursor_brings_a_simple_client_what_it_missed(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    await store(sender, 1)
    message = await receiver.receive()
    acknowledged = await receiver.ask("ack", {"offset": message["offset"]})
    assert acknowledged["type"] == "ok"
    await receiver.close()
    await server.until(lambda: laptop.device_id not in connected(server, laptop))
    await store(sender, 2)
    back = await server.open(laptop)
    assert (await back.receive())["payload"]["resume"]["outcome"] == "resumed"
    assert (await back.receive())["payload"] == {"n": 2}
    await back.silence()


def connected(server: Server, device: Device) -> list[int]:
    return server.manager.get_connected_devices(device.user_id)


async def test_a_cursor_survives_a_restart(serve, tmp_path) -> None:
    async with Server(tmp_path) as first:
        phone = await first.device("phone")
        peer = await first.connect(phone)
        stored = await store(peer, 1)
        await peer.ask("ack", {"offset": stored["offset"]})
        await store(peer, 2)
    async with Server(tmp_path) as second:
        back = await second.open(phone)
        start = (await back.receive())["payload"]["resume"]
        assert (start["outcome"], start["offset"], start["head"]) == ("resumed", 1, 2)
        assert (await back.receive())["payload"] == {"n": 2}
        await back.close()


@pytest.mark.parametrize(
    ("epoch", "offset", "outcome"),
    [
        ("other", 1, "reset"),
        ("", 1, "reset"),
        ("BARE", 1, "reset"),
        ("BARE.unknown", 0, "reset"),
        (None, 2**63 - 1, "reset"),
        (None, 9, "reset"),
    ],
)
async def test_a_position_that_cannot_be_resumed_is_a_reset(
    server: Server, phone: Device, epoch: str | None, offset: int, outcome: str
) -> None:
    await store(await server.connect(phone))
    numbering = server.app[NODE].log.numbering
    text = numbering.text
    known = text if epoch is None else epoch.replace("BARE", numbering.epoch)
    peer, start = await resume(server, phone, known, offset, "&instance=b")
    assert (start["outcome"], start["offset"]) == (outcome, 1)
    assert (await upto_position(peer)) == (
        [],
        {"epoch": text, "offset": 1, "live": True},
    )


@pytest.mark.parametrize(
    "query",
    [
        "?epoch=e&offset=-1",
        "?epoch=e&offset=1.5",
        "?epoch=e&offset=x",
        "?epoch=e&offset=",
        f"?epoch=e&offset={10**19}",
        "?epoch=e",
        "?offset=1",
        "?resume=old",
        "?snapshot=yes",
    ],
)
async def test_a_malformed_position_is_refused_before_the_upgrade(
    server: Server, phone: Device, query: str
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await server.open(phone, query)
    assert refusal.value.response.status_code == 400


@pytest.mark.parametrize("offset", [2, 2**62, 2**63, -1, 1.0, "1", None, True])
async def test_an_ack_of_what_was_never_sent_is_invalid(
    server: Server, phone: Device, offset: Any
) -> None:
    peer = await server.connect(phone)
    await store(peer)
    answer = await peer.ask("ack", {"offset": offset})
    assert (answer["type"], answer["payload"]["code"]) == ("error", "invalid_message")


async def test_a_snapshot_gives_the_latest_values_first(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    for number in range(3):
        await store(sender, number, store="latest", key="volume")
    peer = await server.open(laptop, "?resume=live")
    start = (await peer.receive())["payload"]["resume"]
    assert (start["outcome"], start["offset"]) == ("live", 3)
    values, position = await upto_position(peer)
    assert [(one["payload"], one["offset"], one["snapshot"]) for one in values] == [
        ({"n": 2}, 3, True)
    ]
    assert position["offset"] == 3


async def test_who_gives_no_parameter_gets_no_frames_for_positioned_clients(
    server: Server, phone: Device, laptop: Device
) -> None:
    await store(await server.connect(phone), store="latest", key="volume")
    peer = await server.connect(laptop)
    await peer.silence()


async def test_a_repeat_over_a_reconnect_is_one_message(
    server: Server, phone: Device, laptop: Device
) -> None:
    receiver = await server.connect(laptop)
    first = await store(await server.connect(phone), 1, message_id="m")
    again = await store(await server.connect(phone), 1, message_id="m")
    assert again == {**first, "duplicate": True, "delivered": []}
    assert (await receiver.receive())["offset"] == first["offset"]
    await receiver.silence()
    await (sender := await server.connect(phone)).send(
        "device.send", note(2, message_id="m"), id="ask"
    )
    assert (await answer_to(sender))["payload"]["code"] == "id_conflict"


async def test_a_device_may_be_told_what_it_may_keep(serve) -> None:
    server = await serve(durable_prefixes="chat, notes", durable_per_second=1, durable_burst=2)
    sender = await server.connect(await server.device("phone"))
    await sender.send("device.send", note(), id="ask")
    assert (await answer_to(sender))["payload"]["code"] == "forbidden"
    codes = []
    for number in range(3):
        await sender.send("device.send", {**note(number), "type": "chat.line"}, id=f"{number}")
        codes.append((await answer_to(sender, str(number)))["payload"].get("code"))
    assert codes == [None, None, "rate_limited"]


async def test_one_key_too_many_is_refused_and_a_known_one_is_not(serve) -> None:
    server = await serve(max_keys_per_user=2)
    sender = await server.connect(await server.device("phone"))
    for key in ("a", "b", "a"):
        await store(sender, store="latest", key=key)
    await sender.send("device.send", note(store="latest", key="c"), id="ask")
    assert (await answer_to(sender))["payload"]["code"] == "too_many_keys"


async def test_new_ids_of_a_user_are_refused_above_the_limit_and_told_until_when(serve) -> None:
    server = await serve(message_ids_per_user=2)
    phone, laptop = [await server.device(name) for name in ("phone", "laptop")]
    sender = await server.connect(phone)
    first = await store(sender, 1, message_id="a")
    await store(await server.connect(laptop), 2, message_id="a")
    await sender.send("device.send", note(3, message_id="b"), id="ask")
    refusal = (await answer_to(sender))["payload"]
    assert refusal["code"] == "too_many_ids"
    # The first hour may have been over by the time of the refusal, never 24.
    assert 22 * 3_600_000 < refusal["retry_after_ms"] <= 24 * 3_600_000
    again = await store(sender, 1, message_id="a")
    assert again == {**first, "duplicate": True, "delivered": []}
    # What has no id needs none.
    await store(sender, 4)
    assert server.app[NODE].metrics.appends_refused["too_many_ids"] == 1
    # Who removes a device and signs in with another has no more than before.
    tablet = await server.connect(await server.device("tablet"))
    await tablet.send("device.send", note(5, message_id="a"), id="ask")
    assert (await answer_to(tablet))["payload"]["code"] == "too_many_ids"


async def test_the_reader_does_not_wait_for_the_disk_but_stops_at_its_limit(serve) -> None:
    server = await serve(**NO_LIMITS)
    phone = await server.device("phone")
    raw = await RawPeer.upgrade(server, phone)
    await raw.frame()
    node = server.app[NODE]
    async with node.committer.exclusive():
        text = b'{"type":"device.send","payload":{"to":"others","type":"a.b","store":"log"}}'
        raw.write(masked(text) * (2 * MAX_OUTSTANDING))
        (connection,) = server.manager.connections()
        await server.until(lambda: connection.inflow.outstanding == MAX_OUTSTANDING)
        assert connection.inflow.frames == MAX_OUTSTANDING
    await server.until(lambda: connection.inflow.frames == 2 * MAX_OUTSTANDING)
    await server.until(lambda: connection.inflow.outstanding == 0)
    assert node.log.last == 2 * MAX_OUTSTANDING


async def test_a_reader_that_stalls_catches_up_and_delays_nobody(serve) -> None:
    server = await serve(**NO_LIMITS)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    sender = await server.connect(phone)
    slow = await server.connect(laptop, "?resume=live", max_queue=1)
    assert (await slow.receive())["type"] == "position"
    slow.ws.transport.pause_reading()
    pad, count = "." * 20_000, 500
    for number in range(count):
        await sender.send(
            "device.send", note(to="others", payload={"n": number, "pad": pad}), id="x"
        )
        await answer_to(sender, "x")
    (connection,) = [one for one in server.manager.connections() if one.positioned]
    assert connection.place.behind
    assert connection.backlog_bytes < 1_000_000
    slow.ws.transport.resume_reading()
    seen = []
    while len(seen) < count:
        message = await slow.receive()
        if message["type"] == "note.text":
            seen.append(message["payload"]["n"])
    assert seen == list(range(count))


async def test_a_new_epoch_closes_all_and_resets_who_comes_back(
    server: Server, phone: Device
) -> None:
    peer = await server.connect(phone, "?resume=live")
    stored = await store(peer)
    node = server.app[NODE]
    before = node.log.numbering.text
    await node.reset_streams()
    assert await peer.closed() == (1001, "stream_reset")
    _, start = await resume(server, phone, before, stored["offset"])
    assert start["outcome"] == "reset"
    assert start["epoch"] == node.log.numbering.text
    assert node.log.epoch != stored["epoch"]


async def prune(server: Server) -> None:
    node = server.app[NODE]
    removals = server.app[METRICS].removals
    await Maintenance(node.log, node.delivery.standings, removals=removals).prune()


@pytest.mark.parametrize("by", ["position", "cursor"])
async def test_a_device_whose_messages_were_removed_is_reset_and_gets_what_is_kept(
    serve, by: str
) -> None:
    server = await serve(retention_rows=3)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    away = await server.connect(laptop)
    sender = await server.connect(phone)
    await store(sender, 1)
    assert (await away.receive())["offset"] == 1
    assert (await away.ask("ack", {"offset": 1}))["type"] == "ok"
    await away.close()
    await store(sender, store="latest", key="volume")
    for number in range(3, 11):
        await store(sender, number)
    await prune(server)

    text = server.app[NODE].log.numbering.text
    query = f"?epoch={text}&offset=1" if by == "position" else "?snapshot=0"
    back = await server.open(laptop, query)
    start = (await back.receive())["payload"]["resume"]
    assert start == {"outcome": "reset", "epoch": text, "offset": 1, "head": 10}
    assert server.app[METRICS].resets == {"removed": 1}
    kept, position = await upto_position(back)
    assert [(one["offset"], "snapshot" in one, "replayed" in one) for one in kept] == [
        (2, True, False),
        *((offset, False, True) for offset in (2, 8, 9, 10)),
    ]
    assert position == {"epoch": text, "offset": 10, "live": True}


async def test_a_replay_is_marked_up_to_the_head_that_was_told(serve) -> None:
    server = await serve(retention_rows=3)
    sender = await server.connect(await server.device("phone"))
    for number in range(1, 11):
        await store(sender, number)
    await prune(server)
    text = server.app[NODE].log.numbering.text
    laptop = await server.device("laptop")
    peer, start = await resume(server, laptop, text, 4)
    assert (start["outcome"], start["offset"], start["head"]) == ("reset", 4, 10)
    kept, position = await upto_position(peer)
    assert [(one["offset"], one["replayed"]) for one in kept] == [(8, True), (9, True), (10, True)]
    assert position == {"epoch": text, "offset": 10, "live": True}
    await store(sender, 11)
    assert "replayed" not in await peer.receive()
    await peer.close()
    # One that broke off in its middle goes on there; what it gets then is not marked.
    again, start = await resume(server, laptop, text, 8)
    assert start["outcome"] == "resumed"
    kept, _ = await upto_position(again)
    assert [(one["offset"], "replayed" in one) for one in kept] == [
        (9, False),
        (10, False),
        (11, False),
    ]


async def test_what_everyone_gets_is_for_users_that_were_away_too(
    server: Server, phone: Device
) -> None:
    node = server.app[NODE]
    stored = await append(node, Publication(ToEveryone(), "news.line", {"n": 1}, Keep("log")))
    theirs = await server.device("theirs", handle="bob")
    for device in (phone, theirs):
        peer, _ = await resume(server, device, stored.epoch, 0)
        assert [one["type"] for one in (await upto_position(peer))[0]] == ["news.line"]


async def limit_pages(server: Server, pages: int) -> None:
    """Fill the disk: let the database grow to so many pages at most."""

    def limit(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    await server.app[DATABASE].transact(limit)


async def test_on_a_full_disk_a_send_is_refused_and_all_else_goes_on(
    serve, server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    await limit_pages(server, 1)
    large = note(to="others", payload="x" * 60_000)
    await sender.send("device.send", large, id="ask")
    refusal = await answer_to(sender)
    assert refusal["payload"]["code"] == "storage_unavailable"
    await sender.ask("device.send", note(to="others", store="none"))
    assert "offset" not in await receiver.receive()
    await limit_pages(server, 1_000_000)
    stored = await store(sender, to="others", payload="x" * 60_000)
    assert (await receiver.receive())["offset"] == stored["offset"]
    await receiver.silence()


async def test_retention_counts_what_it_removes(serve) -> None:
    server = await serve(retention_rows=3)
    sender = await server.connect(await server.device("phone"))
    for number in range(10):
        await store(sender, number)
    await prune(server)
    removed = server.app[METRICS].registry.get_sample_value(
        "switchboard_removed_total", {"kind": "messages"}
    )
    assert removed == 7
