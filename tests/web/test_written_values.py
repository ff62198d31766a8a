"""Numbers, names and JSON as backends and clients write them over HTTP."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.web.admins import Desk
from tests.web.api import Api, problem
from tests.web.backend import Shop, shop
from tests.web.test_reading import Raw

BOM = b"\xef\xbb\xbf"
UUID = "8f14e45f-ceea-4672-a1b9-c0ffee000001"

NO_INTEGERS = ("2.0", "2.5", "1e2", "true", '"2"')
"""JSON that is no integer as it is written."""

NO_DIGITS = (" 2", "2 ", "+2", "-1", "-0", "2.0", "1e2", "0x2", "2_0", "٣", "２", "", "9" * 40)
"""Texts that are more, or less, than digits of ASCII."""


@pytest.fixture
async def sender(api: Api) -> Shop:
    return await shop(api, "send", "read")


async def fields_at_fault(sender: Shop, to: str, more: str = "") -> set[str]:
    """Post what is refused, and return the fields that the refusal names."""
    body = f'{{"to":{to},"type":"note.text"{more}}}'.encode()
    refusal = await problem(await sender.post(body))
    assert (refusal["status"], refusal["code"]) == (400, "invalid_body"), (to, more)
    return {str(fault["field"]) for fault in refusal["errors"]}


async def test_what_is_no_integer_is_refused_by_the_name_of_its_field(sender: Shop) -> None:
    for number in (*NO_INTEGERS, "0", str(1 << 63)):
        assert await fields_at_fault(sender, f'{{"device":{number}}}') == {"to.device"}, number
        to = f'{{"user":1,"exclude_device":{number}}}'
        assert await fields_at_fault(sender, to) == {"to.exclude_device"}, number
    for number in NO_INTEGERS:
        more = f',"store":"log","ttl":{number}'
        assert await fields_at_fault(sender, '{"user":"ada"}', more) == {"ttl"}, number
    for number in ("2.0", "1e2", "true"):
        assert await fields_at_fault(sender, f'{{"user":{number}}}') == {"to.user"}, number


async def test_an_integer_out_of_its_range_is_a_refusal_and_no_failure(sender: Shop) -> None:
    for number in ("0", "-0", "-1", str(1 << 53), str(1 << 63), str((1 << 64) - 1)):
        body = f'{{"to":{{"user":{number}}},"type":"note.text"}}'.encode()
        assert await sender.refused(body) == (404, "user_not_found"), number
        body = f'{{"to":{{"user":"ada"}},"type":"a","store":"log","ttl":{number}}}'.encode()
        assert await sender.refused(body) == (400, "invalid_message"), number
    for number in (str(1 << 64), str(-(1 << 63) - 1)):
        body = f'{{"to":{{"user":{number}}},"type":"note.text"}}'.encode()
        assert await sender.refused(body) == (400, "invalid_body"), number


async def test_what_json_has_not_is_no_json(sender: Shop) -> None:
    for text in ("NaN", "-Infinity", "+2", "02", "0x2", "2.", "1e400", "٣", "True"):
        for body in (
            f'{{"to":{{"user":{text}}},"type":"note.text"}}',
            f'{{"to":{{"user":"ada"}},"type":"note.text","payload":{text}}}',
        ):
            assert await sender.refused(body.encode()) == (400, "invalid_json"), text


async def test_a_byte_order_mark_is_no_part_of_a_body_and_the_last_key_counts(
    sender: Shop,
) -> None:
    body = b'{"to":{"user":"nobody"},"type":"Nothing","type":"note.text","to":{"user":"ada"}}'
    for mark in (b"", BOM):
        assert (await sender.post(mark + body)).status == 200
    for text in (BOM, BOM + BOM + body, body + BOM):
        assert await sender.refused(text) == (400, "invalid_json")


async def test_a_number_in_a_query_is_digits_and_nothing_else(desk: Desk) -> None:
    for text in NO_DIGITS:
        for name in ("limit", "after"):
            answer = await desk.api.http.get(
                f"/v1/admin/users?{name}={quote(text)}", headers=desk.me.by_header
            )
            refusal = await problem(answer)
            assert (refusal["status"], refusal["code"]) == (400, "invalid_parameter"), text
            assert refusal["detail"].lower().startswith(f"{name} is ")


async def test_an_id_in_a_path_is_digits_or_nobodys(api: Api) -> None:
    person = await api.sign_in()
    for text in ("2.0", "+1", "-1", " 1", "٣", "1e0", "0x1", "9" * 19, "9" * 40, "0"):
        answer = await api.http.delete(f"/v1/devices/{quote(text)}", headers=person.by_header)
        assert (await problem(answer))["code"] == "device_not_found", text


async def test_a_length_that_is_no_number_is_refused_before_the_body(api: Api) -> None:
    raw = Raw(api)
    for length in (b"+5", b"-5", b"5.0", b"0x5", b"5, 6", b"5_0", b"", b"\xd9\xa3"):
        refused = await raw.refused(
            b"POST /v1/auth/login",
            b"Content-Type: application/json",
            b"Content-Length: " + length,
        )
        assert refused == (400, "malformed_request"), length


async def test_a_device_uuid_is_compared_to_the_letter(api: Api) -> None:
    first = await api.sign_in(device_uuid=UUID)
    spaced = await api.sign_in(device_uuid=f" {UUID}\n")
    upper = await api.sign_in(device_uuid=UUID.upper())
    bare = await api.sign_in(device_uuid=UUID.replace("-", ""))
    assert spaced.device_id == first.device_id
    assert len({first.device_id, upper.device_id, bare.device_id}) == 3
    answer = await (await api.http.get("/v1/devices", headers=first.by_header)).json()
    shown = {device["id"]: device["device_uuid"] for device in answer["devices"]}
    assert (shown[first.device_id], shown[upper.device_id]) == (UUID, UUID.upper())


@pytest.mark.parametrize(
    "uuid",
    ["{" + UUID + "}", f"urn:uuid:{UUID}", f"({UUID})", UUID.replace("-", "_"), f"\ufeff{UUID}"],
)
async def test_a_device_uuid_in_other_clothes_is_refused(api: Api, uuid: str) -> None:
    refusal = await problem(await api.login(device_uuid=uuid))
    assert (refusal["status"], refusal["code"]) == (400, "invalid_device")


async def test_a_handle_is_one_in_any_case_and_composition(api: Api) -> None:
    await api.add_user("Zo\u00eb")
    seen = set[Any]()
    for handle in ("zo\u00eb", "ZO\u00cb", "Zoe\u0308", "zOE\u0308 "):
        seen.add((await api.sign_in(user_handle=handle)).body["user_id"])
    assert len(seen) == 1
    assert (await api.login(user_handle="zoe")).status == 401


async def test_a_message_id_and_a_key_are_compared_to_the_letter(sender: Shop) -> None:
    kept: dict[str, Any] = {"store": "log"}
    first = await sender.send({"user": "ada"}, **kept, message_id="Move")
    for other in ("move", "MOVE", " Move", "Move\n", "\ufeffMove"):
        assert "duplicate" not in await sender.send({"user": "ada"}, **kept, message_id=other)
    again = await sender.send({"user": "ada"}, **kept, message_id="Move")
    assert (again["offset"], again["duplicate"]) == (first["offset"], True)


async def test_a_name_has_no_byte_order_mark(desk: Desk) -> None:
    path = f"/v1/devices/{desk.me.device_id}"
    body = json.dumps({"device_name": "\ufeffPhone\ufeff"}).encode()
    headers = {**desk.me.by_header, "Content-Type": "application/json"}
    answer = await desk.api.http.patch(path, data=body, headers=headers)
    assert (await answer.json())["device_name"] == "Phone"
