"""What a request may carry."""

import gzip
from typing import Any

import orjson
import pytest

from tests.web.api import Api, problem

LOGIN = "/v1/auth/login"
JSON = {"Content-Type": "application/json"}


async def refused(api: Api, data: bytes, headers: dict[str, str] = JSON) -> dict[str, Any]:
    response = await api.http.post(
        LOGIN, data=data, headers=headers, skip_auto_headers=["Content-Type"]
    )
    return await problem(response)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"nonsense", b'{"a": NaN}', b"\xff\xfe", b'"\\ud800"', b"[" * 8000, b"{} {}"],
    ids=repr,
)
async def test_what_is_not_json_is_invalid_json(api: Api, data: bytes) -> None:
    body = await refused(api, data)
    assert (body["status"], body["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("data", [b"[]", b"null", b'"text"', b"12"], ids=repr)
async def test_what_is_no_object_is_an_invalid_body(api: Api, data: bytes) -> None:
    body = await refused(api, data)
    assert (body["status"], body["code"]) == (400, "invalid_body")


async def test_every_wrong_field_is_named_and_no_value_is_echoed(api: Api) -> None:
    data = orjson.dumps(
        {
            "user_handle": 666777,
            "password": ["hunter2"],
            "device_uuid": None,
            "device_type": {"x": "secret"},
            "device_name": 5,
        }
    )
    body = await refused(api, data)
    assert body["code"] == "invalid_body"
    assert {fault["field"] for fault in body["errors"]} == {
        "user_handle",
        "password",
        "device_uuid",
        "device_type",
        "device_name",
    }
    assert all(fault["code"] and fault["detail"] for fault in body["errors"])
    for value in ("666777", "hunter2", "secret"):
        assert value not in str(body)


@pytest.mark.parametrize(
    ("field", "length"),
    [("user_handle", 257), ("password", 1025), ("device_uuid", 257), ("device_type", 257)],
)
async def test_every_field_has_a_limit(api: Api, field: str, length: int) -> None:
    response = await api.login(**{field: "x" * length})
    body = await problem(response)
    assert (body["status"], body["code"]) == (400, "invalid_body")
    assert [fault["field"] for fault in body["errors"]] == [field]


async def test_unknown_keys_are_ignored(api: Api) -> None:
    assert (await api.login(client_version="1.2", remember=True)).status == 201


async def test_a_body_over_the_limit_is_refused_with_and_without_a_length(api: Api) -> None:
    body = await refused(api, b"x" * 16_385)
    assert (body["status"], body["code"]) == (413, "too_large")

    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 1000

    response = await api.http.post(LOGIN, data=chunks(), headers=JSON)
    assert (await problem(response))["code"] == "too_large"


async def test_a_body_at_the_limit_is_read(api: Api) -> None:
    body = await refused(api, b'"' + b"x" * 16_382 + b'"')
    assert body["code"] == "invalid_body"


@pytest.mark.parametrize(
    "given", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/x"]
)
async def test_other_media_types_are_refused(api: Api, given: str) -> None:
    body = await refused(api, b"{}", {"Content-Type": given})
    assert (body["status"], body["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "Application/JSON"},
        {"Content-Type": "application/json", "Content-Encoding": "identity"},
    ],
    ids=str,
)
async def test_json_and_no_media_type_at_all_are_accepted(
    api: Api, headers: dict[str, str]
) -> None:
    assert (await refused(api, b"[]", headers))["code"] == "invalid_body"


async def test_a_compressed_body_is_refused_and_not_unpacked(api: Api) -> None:
    bomb = gzip.compress(b"[" + b"0," * 4_000_000 + b"0]")
    body = await refused(api, bomb[:16_000], {**JSON, "Content-Encoding": "gzip"})
    assert (body["status"], body["code"]) == (415, "unsupported_media_type")


async def test_a_byte_order_mark_before_json_is_ignored(api: Api) -> None:
    body = b'\xef\xbb\xbf{"user_handle": "ada", "password": "wrong password"}'
    headers = {"Content-Type": "application/json"}
    response = await api.http.post("/v1/auth/login", data=body, headers=headers)
    assert (await problem(response))["code"] == "invalid_body"
