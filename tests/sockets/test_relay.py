"""`device.send`: from one device to the others."""

import json
from typing import Any

import pytest
from serving import Device, Server


def note(to: Any, **more: Any) -> dict[str, Any]:
    return {"to": to, "type": "note.text", "payload": {"text": "hello"}, **more}


async def test_a_message_typed_on_one_device_arrives_on_the_other(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    answer = await sender.ask("device.send", note("others"))
    assert answer == {
        "type": "ok",
        "payload": {"delivered": [laptop.device_id]},
        "reply_to": "ask",
    }
    assert await receiver.receive() == {
        "type": "note.text",
        "payload": {"text": "hello"},
        "from": {"device_id": phone.device_id, "instance": "default"},
    }
    await sender.silence()


async def test_without_an_id_there_is_no_answer(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    await sender.send("device.send", note("others"))
    await receiver.receive()
    await sender.silence()


async def test_the_senders_other_tabs_hear_it_but_not_itself(server: Server, phone: Device) -> None:
    one = await server.connect(phone, "?instance=one")
    two = await server.connect(phone, "?instance=two")
    assert (await one.ask("device.send", note("others")))["payload"] == {
        "delivered": [phone.device_id]
    }
    assert (await two.receive())["from"] == {"device_id": phone.device_id, "instance": "one"}
    await one.silence()


async def test_to_a_device_means_all_its_connections(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    tabs = [await server.connect(laptop, f"?instance={name}") for name in "ab"]
    answer = await sender.ask("device.send", note(laptop.device_id))
    assert answer["payload"] == {"delivered": [laptop.device_id]}
    for tab in tabs:
        assert (await tab.receive())["type"] == "note.text"


async def test_to_the_user_means_the_sender_too(server: Server, phone: Device) -> None:
    sender = await server.connect(phone)
    await sender.send("device.send", note("user"))
    assert (await sender.receive())["type"] == "note.text"


async def test_a_known_device_that_is_away_gets_nothing_and_is_no_error(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender = await server.connect(phone)
    answer = await sender.ask("device.send", note(laptop.device_id))
    assert (answer["type"], answer["payload"]) == ("ok", {"delivered": []})


async def test_unknown_and_foreign_devices_are_the_same_error(
    server: Server, phone: Device
) -> None:
    foreign = await server.device("theirs", handle="bob")
    theirs = await server.connect(foreign)
    sender = await server.connect(phone)
    answers = [
        await sender.ask("device.send", note(device))
        for device in (foreign.device_id, 999_999, 2**63 - 1)
    ]
    assert [answer["payload"]["code"] for answer in answers] == ["device_not_found"] * 3
    assert answers[0] == answers[1] == answers[2]
    await theirs.silence()


async def test_a_revoked_device_is_not_found(server: Server, phone: Device, laptop: Device) -> None:
    from app.keys import ACCOUNTS

    sender = await server.connect(phone)
    server.end(await server.app[ACCOUNTS].revoke_device(laptop.device_id))
    answer = await sender.ask("device.send", note(laptop.device_id))
    assert answer["payload"]["code"] == "device_not_found"


async def test_two_users_never_see_each_other(server: Server, phone: Device) -> None:
    theirs = await server.connect(await server.device("theirs", handle="bob"))
    sender = await server.connect(phone)
    await sender.ask("device.send", note("others"))
    await theirs.silence()


@pytest.mark.parametrize(
    "type_",
    [
        "connected",
        "position",
        "ping",
        "pong",
        "ok",
        "ack",
        "error",
        "goaway",
        "ping.x",
        "device.send",
        "device.x",
        "presence.x",
        "note",
        "sync.x",
        "playback.x",
        "notification.x",
    ],
)
async def test_a_device_may_not_send_what_is_not_its_own(
    server: Server, phone: Device, laptop: Device, type_: str
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    answer = await sender.ask("device.send", {**note("others"), "type": type_})
    assert answer["payload"]["code"] == "forbidden"
    await receiver.silence()


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        "x",
        {},
        note("everyone"),
        note(0),
        note(-1),
        note(1.0),
        note(True),
        note(None),
        note([1]),
        note(2**63),
        {"to": "others"},
        {"to": "others", "type": 5},
        {"to": "others", "type": "Not.a.Type"},
        note("others", store="log", key="k"),
        note("others", store="latest"),
        note("others", payload=json.loads("[" * 300 + "]" * 300)),
        note("others", payload=json.loads("[" * 300 + "]" * 300), store="log"),
        note("others", store="latest", key=""),
        note("others", store="latest", key="k" * 129),
        note("others", store="log", ttl=0),
        note("others", store="log", ttl=1.5),
        note("others", store="log", message_id=7),
        note("others", store="log", message_id="m" * 129),
        note("others", store=5),
        note("others", key="k"),
        note("others", ttl=5),
        note("others", message_id="m"),
    ],
    ids=str,
)
async def test_a_malformed_send_is_an_invalid_message(
    server: Server, phone: Device, laptop: Device, payload: Any
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    answer = await sender.ask("device.send", payload)
    assert (answer["type"], answer["payload"]["code"]) == ("error", "invalid_message")
    await receiver.silence()


async def test_store_none_is_what_there_is(server: Server, phone: Device) -> None:
    sender = await server.connect(phone)
    assert (await sender.ask("device.send", note("others", store="none")))["type"] == "ok"


async def test_another_type_of_the_feature_is_unknown(server: Server, phone: Device) -> None:
    sender = await server.connect(phone)
    assert (await sender.ask("device.fly"))["payload"]["code"] == "unknown_type"


async def test_messages_arrive_in_the_order_in_which_they_were_sent(
    server: Server, phone: Device, laptop: Device
) -> None:
    sender, receiver = await server.connect(phone), await server.connect(laptop)
    for number in range(150):
        await sender.send("device.send", {"to": "others", "type": "n.x", "payload": number})
    assert [(await receiver.receive())["payload"] for _ in range(150)] == list(range(150))
