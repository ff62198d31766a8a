"""Finding the id of a user whom a backend knows by another name."""

from typing import Any
from urllib.parse import urlencode

import outside
import pytest

from app.keys import ACCOUNTS
from app.web.users import UserAnswer
from tests.web.api import Start, problem
from tests.web.backend import Shop, shop

EVE = {"iss": outside.ISSUER, "sub": "eve"}


@pytest.fixture
async def backend(start: Start) -> Shop:
    return await shop(await start(**outside.SETTINGS), "read")


async def find(backend: Shop, **query: str) -> dict[str, Any]:
    found = await backend.get(f"/v1/users?{urlencode(query)}")
    UserAnswer.model_validate(found)
    return found


async def refusal(backend: Shop, query: str) -> tuple[int, str]:
    response = await backend.api.http.get(f"/v1/users?{query}", headers=backend.by_header)
    return response.status, (await problem(response))["code"]


@pytest.mark.parametrize("handle", ["ada", "ADA", " ada "])
async def test_by_handle_as_people_write_it(backend: Shop, handle: str) -> None:
    found = await find(backend, handle=handle)
    assert found.pop("created_at") > 1_700_000_000_000
    assert found == {
        "id": await backend.user_id(),
        "user_handle": "ada",
        "disabled": False,
    }


@pytest.mark.parametrize("sub", ["customer-7", " a b&c=d/é ", "7"])
async def test_by_issuer_and_subject_to_the_letter(backend: Shop, sub: str) -> None:
    await backend.api.whoami({"Authorization": outside.token(sub)})
    found = await find(backend, iss=outside.ISSUER, sub=sub)
    assert (found["iss"], found["sub"], "user_handle" in found) == (outside.ISSUER, sub, False)
    path = f"/v1/users/{found['id']}/devices"
    assert [one["device_uuid"] for one in (await backend.get(path))["devices"]] == ["outside-0001"]


async def test_asking_makes_no_user(backend: Shop) -> None:
    for _ in range(2):
        assert await refusal(backend, urlencode(EVE)) == (404, "user_not_found")


async def test_a_disabled_user_is_found_and_a_deleted_one_is_not(backend: Shop) -> None:
    accounts = backend.api.app[ACCOUNTS]
    await backend.api.whoami({"Authorization": outside.token("eve")})
    for name in ({"handle": "ada"}, EVE):
        user_id = (await find(backend, **name))["id"]
        await accounts.disable_user(user_id)
        assert (await find(backend, **name))["disabled"] is True
        await accounts.delete_user(user_id)
        assert await refusal(backend, urlencode(name)) == (404, "user_not_found")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (400, "invalid_parameter")),
        ("iss=a", (400, "invalid_parameter")),
        ("sub=a", (400, "invalid_parameter")),
        ("handle=ada&sub=a", (400, "invalid_parameter")),
        ("handle=ada&iss=a&sub=a", (400, "invalid_parameter")),
        ("handle=" + "x" * 1025, (400, "invalid_parameter")),
        ("handle=", (404, "user_not_found")),
        ("handle=nobody", (404, "user_not_found")),
        ("handle=1", (404, "user_not_found")),
        ("handle=%ED%A0%80", (400, "malformed_request")),
        ("iss=&sub=", (404, "user_not_found")),
        ("iss=%ED%A0%80&sub=%00", (400, "malformed_request")),
        (f"iss={outside.ISSUER}&sub=%FF", (400, "malformed_request")),
    ],
)
async def test_what_names_nobody_is_refused(
    backend: Shop, query: str, expected: tuple[int, str]
) -> None:
    assert await refusal(backend, query) == expected


async def test_a_key_without_the_scope_may_not_ask(backend: Shop) -> None:
    sender = await shop(backend.api, "send")
    assert await refusal(sender, "handle=ada") == (403, "forbidden")
