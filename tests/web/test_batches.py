"""POST /v1/messages/batch: each message for itself, in their order."""

from typing import Any

import pytest

from app.web.message_bodies import MAX_BATCH, BatchAnswer
from tests.web.api import Api, Start
from tests.web.backend import Shop, receive, shop

PATH = "/v1/messages/batch"
NOTE = {"to": {"user": "ada"}, "type": "note.text"}


@pytest.fixture
async def sender(api: Api) -> Shop:
    return await shop(api, "send")


async def test_one_that_is_refused_holds_up_no_other(sender: Shop) -> None:
    outcomes = await sender.batch(
        NOTE,
        {"to": {"user": "bob"}, "type": "note.text"},
        {"to": {"device": 99}, "type": "note.text"},
        {**NOTE, "type": "ping"},
        {**NOTE, "key": "k"},
        {"type": "note.text"},
        "note",
        {**NOTE, "payload": "x" * 100_000},
        {**NOTE, "store": "log"},
    )
    assert [(one["status"], one.get("code")) for one in outcomes] == [
        (200, None),
        (404, "user_not_found"),
        (404, "device_not_found"),
        (403, "forbidden"),
        (400, "invalid_message"),
        (400, "invalid_body"),
        (400, "invalid_body"),
        (413, "too_large"),
        (200, None),
    ]
    assert outcomes[5]["errors"][0]["field"] == "to"
    assert outcomes[8]["offset"] > 0
    BatchAnswer.model_validate({"outcomes": outcomes})


async def test_offsets_are_in_the_order_of_the_list_and_so_is_what_arrives(sender: Shop) -> None:
    socket = await sender.positioned(await sender.device())
    messages = [{**NOTE, "payload": number, "store": "log"} for number in range(MAX_BATCH)]
    outcomes = await sender.batch(*messages)
    offsets = [one["offset"] for one in outcomes]
    assert offsets == sorted(set(offsets))
    arrived: list[int] = []
    while len(arrived) < MAX_BATCH:
        message = await receive(socket)
        # A connection that was behind for a moment gets a `position` when it has caught up.
        arrived += [message["payload"]] if message["type"] == "note.text" else []
    assert arrived == list(range(MAX_BATCH))


async def test_a_repeat_inside_of_a_batch_is_stored_once(sender: Shop) -> None:
    message = {**NOTE, "store": "log", "message_id": "order-1"}
    first, again, other = await sender.batch(message, message, {**message, "payload": 1})
    assert (again["offset"], again["duplicate"]) == (first["offset"], True)
    assert (other["status"], other["code"]) == (409, "id_conflict")


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": []}, {"messages": [NOTE] * (MAX_BATCH + 1)}, {"messages": {}}],
    ids=["none", "empty", "too many", "no list"],
)
async def test_a_batch_is_a_list_of_1_to_1000(sender: Shop, body: Any) -> None:
    assert await sender.refused(body, path=PATH) == (400, "invalid_body")


async def test_a_batch_has_no_idempotency_key_of_its_own(sender: Shop) -> None:
    headers = {"Idempotency-Key": "a"}
    refused = await sender.refused({"messages": [NOTE]}, path=PATH, headers=headers)
    assert refused == (400, "invalid_body")


async def test_a_batch_above_4_mib_is_too_large_and_one_of_3_is_not(sender: Shop) -> None:
    message = {**NOTE, "payload": "x" * 60_000}
    assert {one["status"] for one in await sender.batch(*[message] * 50)} == {200}
    refused = await sender.refused({"messages": [message] * 80}, path=PATH)
    assert refused == (413, "too_large")


async def test_a_batch_is_limited_to_the_prefixes_of_its_key(start: Start) -> None:
    sender = await shop(await start(), "send", prefixes=("note",))
    outcomes = await sender.batch(NOTE, {**NOTE, "type": "notes.text"}, {**NOTE, "type": "note"})
    assert [one["status"] for one in outcomes] == [200, 403, 200]
