"""POST /v1/messages: who gets it, how it is kept, what is refused."""

import json
import math
from typing import Any

import pytest

from app.keys import ACCOUNTS, DATABASE, NODE
from app.storage.users import add_outside_user
from app.streams.base import ReadLimits
from app.web.message_bodies import RefusedOutcome, SentAnswer
from app.web.problems import ProblemAnswer
from tests.web.api import Api, Start, problem
from tests.web.backend import Shop, acknowledge, receive, shop

ALL = ReadLimits(rows=100, bytes=100_000)
NOTE = {"to": {"everyone": True}, "type": "note.text"}


@pytest.fixture
async def sender(api: Api) -> Shop:
    return await shop(api, "send")


async def test_a_message_reaches_all_devices_of_a_user_and_the_answer_names_them(
    sender: Shop,
) -> None:
    devices = [await sender.device(number) for number in (1, 2)]
    sockets = [await sender.api.connect(device.by_header) for device in devices]
    answer = await sender.send({"user": "ada"}, "note.text", {"text": "hi"})
    assert answer == {"delivered": [one.device_id for one in devices], "waiting": []}
    for socket in sockets:
        assert await receive(socket) == {"type": "note.text", "payload": {"text": "hi"}}


async def test_a_device_is_reached_alone_and_another_can_be_left_out(sender: Shop) -> None:
    one, two = [await sender.device(number) for number in (1, 2)]
    first, second = [await sender.api.connect(device.by_header) for device in (one, two)]
    user = one.body["user_id"]
    answer = await sender.send({"device": two.device_id}, "note.first")
    assert answer["delivered"] == [two.device_id]
    answer = await sender.send({"user": user, "exclude_device": two.device_id}, "note.second")
    assert answer["delivered"] == [one.device_id]
    assert (await receive(second))["type"] == "note.first"
    assert (await receive(first))["type"] == "note.second"


async def test_to_everyone_the_answer_has_numbers(sender: Shop) -> None:
    await sender.api.add_user("bob")
    for handle in ("ada", "bob"):
        await sender.api.connect((await sender.device(handle=handle)).by_header)
    assert await sender.send({"everyone": True}) == {"delivered": 2, "waiting": 0}


async def test_a_user_is_named_by_id_by_handle_or_by_who_they_are_outside(sender: Shop) -> None:
    async with sender.api.app[DATABASE].write() as connection:
        outside = await add_outside_user(connection, "https://app.example", "4711", 1)
    name = {"iss": "https://app.example", "sub": "4711"}
    for user in (await sender.user_id(), "ADA", outside.id, name):
        assert await sender.send({"user": user}) == {"delivered": [], "waiting": []}
    await sender.api.app[ACCOUNTS].delete_user(outside.id)
    for user in (name, outside.id):
        gone = await sender.refused({"to": {"user": user}, "type": "note.text"})
        assert gone == (404, "user_not_found")


@pytest.mark.parametrize(
    "user", ["bob", "1", "", "a b", 0, -1, 99, 1 << 63, {"iss": "a", "sub": "b"}], ids=str
)
async def test_an_unknown_user_is_not_found(sender: Shop, user: Any) -> None:
    refused = await sender.refused({"to": {"user": user}, "type": "note.text"})
    assert refused == (404, "user_not_found")


async def test_an_unknown_device_is_not_found_and_a_strangers_cannot_be_left_out(
    sender: Shop,
) -> None:
    await sender.api.add_user("bob")
    his = await sender.device(handle="bob")
    for to in ({"device": 99}, {"user": "ada", "exclude_device": his.device_id}):
        refused = await sender.refused({"to": to, "type": "note.text"})
        assert refused == (404, "device_not_found")
    await sender.api.app[ACCOUNTS].revoke_device(his.device_id)
    refused = await sender.refused({"to": {"device": his.device_id}, "type": "note.text"})
    assert refused == (404, "device_not_found")


@pytest.mark.parametrize(
    ("to", "field"),
    [
        (None, "to"),
        ({}, "to"),
        ("ada", "to"),
        ({"user": "ada", "device": 1}, "to"),
        ({"user": "ada", "everyone": True}, "to"),
        ({"device": 1, "exclude_device": 2}, "to"),
        ({"everyone": True, "exclude_device": 2}, "to"),
        ({"everyone": False}, "to.everyone"),
        ({"everyone": 1}, "to.everyone"),
        ({"device": "1"}, "to.device"),
        ({"device": 0}, "to.device"),
        ({"device": True}, "to.device"),
        ({"device": 1.0}, "to.device"),
        ({"user": True}, "to.user"),
        ({"user": ["ada"]}, "to.user"),
        ({"user": 1.0}, "to.user"),
        ({"user": {"iss": "a"}}, "to.user.outside.sub"),
        ({"user": "ada", "exclude_device": "2"}, "to.exclude_device"),
    ],
    ids=str,
)
async def test_a_target_is_exactly_one_and_the_refusal_names_the_field(
    sender: Shop, to: Any, field: str
) -> None:
    response = await sender.post({"to": to, "type": "note.text"})
    body = await problem(response)
    assert (response.status, body["code"]) == (400, "invalid_body")
    assert [fault["field"] for fault in body["errors"]] == [field]


async def test_a_target_that_is_no_object_is_told_so_in_words_of_json(sender: Shop) -> None:
    body = await problem(await sender.post({"to": "ada", "type": "note.text"}))
    assert [fault["detail"] for fault in body["errors"]] == ["Input should be an object."]


@pytest.mark.parametrize(
    "type_", ["ping", "connected", "ack", "device.send", "presence.state", "token.x"]
)
async def test_the_servers_own_types_are_forbidden(sender: Shop, type_: str) -> None:
    assert await sender.refused({**NOTE, "type": type_}) == (403, "forbidden")


@pytest.mark.parametrize("type_", ["", "Note.Text", "a..b", ".a", "a" * 129, "note text"])
async def test_a_malformed_type_is_no_message(sender: Shop, type_: str) -> None:
    assert await sender.refused({**NOTE, "type": type_}) == (400, "invalid_message")


@pytest.mark.parametrize("type_", ["notification.shown", "sync", "playback.state", "anything"])
async def test_a_backend_may_send_what_a_device_may_not(sender: Shop, type_: str) -> None:
    assert await sender.send({"everyone": True}, type_) == {"delivered": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"key": "k"}, "key belongs to durable messages: store is log or latest."),
        ({"store": "none", "ttl": 5}, "ttl belongs to durable messages: store is log or latest."),
        ({"message_id": "m"}, "message_id belongs to durable messages: store is log or latest."),
        ({"store": "log", "key": "k"}, "key belongs to store latest, which needs one."),
        ({"store": "latest"}, "key belongs to store latest, which needs one."),
        ({"store": "latest", "key": ""}, "key is a string of 1 to 128 characters."),
        ({"store": "latest", "key": "k" * 129}, "key is a string of 1 to 128 characters."),
        ({"store": "log", "ttl": 0}, "ttl is a whole number of seconds, 1 to 31622400."),
        ({"store": "log", "message_id": "m" * 129}, "message_id is a string of 1 to 128 char"),
    ],
    ids=str,
)
async def test_how_it_is_kept_must_make_sense(
    sender: Shop, fields: dict[str, Any], sentence: str
) -> None:
    response = await sender.post({**NOTE, **fields})
    body = await problem(response)
    assert (response.status, body["code"]) == (400, "invalid_message")
    assert body["detail"].startswith(sentence)


@pytest.mark.parametrize(
    "fields", [{"store": "disk"}, {"ttl": 1.5}, {"ttl": "5"}, {"key": 5}, {"type": 5}], ids=str
)
async def test_a_field_of_the_wrong_type_is_refused_by_its_name(
    sender: Shop, fields: dict[str, Any]
) -> None:
    body = await problem(await sender.post({**NOTE, **fields}))
    assert body["code"] == "invalid_body"
    assert [fault["field"] for fault in body["errors"]] == list(fields)


async def test_a_message_above_the_limit_is_too_large_and_one_at_it_is_not(start: Start) -> None:
    sender = await shop(await start(max_message_bytes=2048), "send")
    empty = len(b'{"type":"note.text","payload":""}')
    assert await sender.send({"everyone": True}, payload="x" * (2048 - empty))
    large = {**NOTE, "payload": "x" * (2049 - empty)}
    assert await sender.refused(large) == (413, "too_large")
    # Larger than any body may be, so the server does not even read it to its end.
    assert await sender.refused({**NOTE, "payload": "x" * 100_000}) == (413, "too_large")


@pytest.mark.parametrize("digits", ["18446744073709551616", "-9223372036854775809", "1" * 40])
async def test_an_integer_that_would_change_on_the_way_is_refused(
    sender: Shop, digits: str
) -> None:
    body = f'{{"to": {{"everyone": true}}, "type": "note.text", "payload": [{digits}]}}'
    assert await sender.refused(body.encode()) == (400, "invalid_body")


async def test_integers_and_fractions_arrive_as_they_were(sender: Shop) -> None:
    socket = await sender.api.connect((await sender.device()).by_header)
    payload = [18446744073709551615, -9223372036854775808, 1.0, 0.1, "18446744073709551616"]
    await sender.send({"user": "ada"}, payload=payload)
    assert json.dumps((await receive(socket))["payload"]) == json.dumps(payload)


async def test_a_payload_nested_too_deep_is_refused(sender: Shop) -> None:
    deep: Any = None
    for _ in range(400):
        deep = [deep]
    assert await sender.refused({**NOTE, "payload": deep}) == (400, "invalid_message")


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "invalid_json"), (b"", "invalid_json"), (b"[]", "invalid_body")],
)
async def test_a_body_that_is_no_object_is_refused(sender: Shop, body: bytes, code: str) -> None:
    assert await sender.refused(body) == (400, code)


# Durable messages


async def test_a_durable_message_has_its_place_and_reaches_those_connected(sender: Shop) -> None:
    device = await sender.device()
    socket = await sender.positioned(device)
    answer = await sender.send({"user": "ada"}, payload={"text": "hi"}, store="log")
    assert answer["epoch"] == sender.api.app[NODE].log.epoch
    assert answer["delivered"] == [device.device_id]
    assert answer["waiting"] == []
    assert "duplicate" not in answer
    message = await receive(socket)
    assert (message["payload"], message["offset"]) == ({"text": "hi"}, answer["offset"])


async def test_who_is_away_with_a_cursor_waits_and_who_has_none_does_not(sender: Shop) -> None:
    one, two = [await sender.device(number) for number in (1, 2)]
    socket = await sender.positioned(one)
    first = await sender.send({"user": "ada"}, store="log")
    assert (first["delivered"], first["waiting"]) == ([one.device_id], [])
    assert (await receive(socket))["offset"] == first["offset"]
    await acknowledge(socket, first["offset"])
    await socket.close()
    await sender.away(one)
    second = await sender.send({"user": "ada"}, store="log")
    assert (second["delivered"], second["waiting"]) == ([], [one.device_id])
    for to in ({"device": two.device_id}, {"user": "ada", "exclude_device": one.device_id}):
        assert (await sender.send(to, store="log"))["waiting"] == []
    assert (await sender.send({"device": one.device_id}, store="log"))["waiting"] == [one.device_id]
    everyone = await sender.send({"everyone": True}, store="log")
    assert (everyone["delivered"], everyone["waiting"]) == (0, 1)
    await sender.api.app[ACCOUNTS].revoke_device(one.device_id)
    assert (await sender.send({"user": "ada"}, store="log"))["waiting"] == []


async def test_a_repeat_by_its_id_stores_nothing_again_and_says_so(sender: Shop) -> None:
    device = await sender.device()
    socket = await sender.positioned(device)
    message = {"payload": 1, "store": "log", "message_id": "order-1"}
    first = await sender.send({"user": "ada"}, **message)
    again = await sender.send({"user": "ada"}, **message)
    assert again == {
        "epoch": first["epoch"],
        "offset": first["offset"],
        "duplicate": True,
        "delivered": [],
        "waiting": [],
    }
    other = {"to": {"user": "ada"}, "type": "note.text", **message, "payload": 2}
    assert await sender.refused(other) == (409, "id_conflict")
    await sender.send({"user": "ada"}, payload="next", store="log")
    assert [(await receive(socket))["payload"] for _ in range(2)] == [1, "next"]


async def test_an_id_belongs_to_the_key_that_gave_it(sender: Shop) -> None:
    other = await shop(sender.api, "admin")
    message = {"store": "log", "message_id": "order-1"}
    first = await sender.send({"user": "ada"}, **message)
    second = await other.send({"user": "ada"}, **message)
    assert second["offset"] > first["offset"]


@pytest.mark.parametrize("header", ["order-1", '"order-1"'])
async def test_the_idempotency_key_is_the_message_id(sender: Shop, header: str) -> None:
    body = {**NOTE, "store": "log"}
    first = await (await sender.post(body, headers={"Idempotency-Key": header})).json()
    again = await sender.send(NOTE["to"], store="log", message_id="order-1")
    assert (again["offset"], again["duplicate"]) == (first["offset"], True)


@pytest.mark.parametrize(
    ("fields", "header", "code"),
    [
        ({"store": "log", "message_id": "a"}, "b", "invalid_body"),
        ({"store": "log"}, "", "invalid_body"),
        ({}, "a", "invalid_message"),
        ({"store": "log"}, "a" * 129, "invalid_message"),
    ],
    ids=str,
)
async def test_an_idempotency_key_that_makes_no_sense_is_refused(
    sender: Shop, fields: dict[str, Any], header: str, code: str
) -> None:
    refused = await sender.refused({**NOTE, **fields}, headers={"Idempotency-Key": header})
    assert refused == (400, code)


async def test_the_header_and_the_body_may_name_the_same_id(sender: Shop) -> None:
    body = {**NOTE, "store": "log", "message_id": "a"}
    assert (await sender.post(body, headers={"Idempotency-Key": "a"})).status == 200


async def test_a_key_may_add_as_many_ids_as_it_likes_unless_it_has_a_limit(start: Start) -> None:
    free = await shop(await start(message_ids_per_user=1), "send")
    for number in range(5):
        await free.send({"user": "ada"}, store="log", message_id=f"{number}")


async def test_a_new_id_above_the_limit_of_a_key_is_refused_for_a_time(start: Start) -> None:
    sender = await shop(await start(message_ids_per_key=1), "send")
    message = {"store": "log", "message_id": "order-1"}
    await sender.send({"user": "ada"}, **message)
    answer = await sender.post({**NOTE, **message, "message_id": "order-2"})
    problem = ProblemAnswer.model_validate(await answer.json())
    assert (answer.status, problem.code) == (429, "too_many_ids")
    wait = problem.retry_after_ms
    assert isinstance(wait, int)
    assert int(answer.headers["Retry-After"]) == math.ceil(wait / 1000)
    assert 22 * 3600 < wait / 1000 <= 24 * 3600
    assert (await sender.send({"user": "ada"}, **message))["duplicate"] is True
    [outcome] = await sender.batch({**NOTE, **message, "message_id": "order-3"})
    RefusedOutcome.model_validate(outcome)
    assert (outcome["status"], outcome["code"]) == (429, "too_many_ids")
    assert 0 < outcome["retry_after_ms"] <= wait


async def test_one_key_more_than_a_user_may_have_is_refused(start: Start) -> None:
    sender = await shop(await start(max_keys_per_user=1), "send")
    await sender.send({"user": "ada"}, store="latest", key="one")
    await sender.send({"user": "ada"}, store="latest", key="one")
    body = {"to": {"user": "ada"}, "type": "note.text", "store": "latest", "key": "two"}
    assert await sender.refused(body) == (409, "too_many_keys")


@pytest.mark.parametrize("to", [{"user": "ada"}, {"everyone": True}], ids=str)
@pytest.mark.parametrize("store", ["none", "log"])
async def test_answers_are_of_the_shape_that_is_documented(
    sender: Shop, to: Any, store: str
) -> None:
    await sender.positioned(await sender.device())
    SentAnswer.model_validate(await sender.send(to, store=store))


async def test_who_a_stored_message_waits_for_may_be_unknown_and_is_no_refusal(
    sender: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    device = await sender.device()
    known = await sender.send({"device": device.device_id}, store="log")
    async with sender.api.app[DATABASE].write() as connection:
        await connection.exec_driver_sql("ALTER TABLE cursors RENAME TO unreadable")
    for to in ({"user": "ada"}, {"device": device.device_id}, {"everyone": True}):
        answer = await sender.send(to, store="log")
        SentAnswer.model_validate(answer)
        assert answer["offset"] > known["offset"]
        assert "waiting" not in answer
    outcomes = await sender.batch(
        {"to": {"user": "ada"}, "type": "note.text", "store": "log"},
        {"to": {"everyone": True}, "type": "note.text", "store": "log"},
        {"to": {"user": "ada"}, "type": "note.text"},
    )
    assert [one["status"] for one in outcomes] == [200, 200, 200]
    assert ["waiting" in one for one in outcomes] == [False, False, True]
    assert "waiting devices not read" in caplog.messages
    assert len((await sender.api.app[NODE].log.read(device.body["user_id"], 0, ALL)).rows) == 6


async def test_a_value_is_deleted_alone_or_in_a_batch(sender: Shop) -> None:
    device = await sender.device()
    socket = await sender.positioned(device)
    to, value = {"user": "ada"}, {"type": "cart.state", "key": "cart"}
    answer = await sender.send(to, "cart.state", 3, store="latest", key="cart")
    deletion = await sender.send(to, "cart.state", key="cart", delete=True)
    assert deletion["offset"] == answer["offset"] + 1
    found = await sender.batch(
        {"to": to, **value, "store": "latest", "payload": 4},
        {"to": to, **value, "delete": True, "message_id": "m"},
        {"to": to, **value, "delete": True, "payload": 4},
    )
    assert [one["status"] for one in found] == [200, 200, 400]
    heard = [await receive(socket) for _ in range(4)]
    assert [(one["payload"], one["key"], one.get("deleted")) for one in heard] == [
        (3, "cart", None),
        (None, "cart", True),
        (4, "cart", None),
        (None, "cart", True),
    ]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"delete": True}, "invalid_message"),
        ({"delete": True, "key": "k", "store": "log"}, "invalid_message"),
        ({"delete": True, "key": "k", "ttl": 5}, "invalid_message"),
        ({"delete": True, "key": "k", "payload": 1}, "invalid_message"),
        ({"delete": 1, "key": "k"}, "invalid_body"),
    ],
    ids=str,
)
async def test_a_deletion_that_asks_for_more_is_refused(
    sender: Shop, more: dict[str, Any], code: str
) -> None:
    assert await sender.refused({**NOTE, **more}) == (400, code)
