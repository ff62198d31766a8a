"""Users, as an administrator sees and changes them."""

from typing import Any

import pytest
from serving import PATIENCE

from app.keys import ACCOUNTS, DATABASE, MANAGER
from app.storage.users import add_outside_user
from app.web.admin import users
from app.web.admin.users import (
    AdminUserAnswer,
    AdminUserPageAnswer,
    MadePasswordAnswer,
    NewUserAnswer,
)
from tests.web.admins import Desk
from tests.web.api import PASSWORD, Start
from tests.web.backend import shop


async def listed(desk: Desk, query: str = "") -> list[str]:
    found = await desk.get(f"/users{query}")
    AdminUserPageAnswer.model_validate(found)
    return [one.get("user_handle") or one["sub"] for one in found["users"]]


async def test_a_page_shows_each_user_with_devices_and_connections(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    device = await desk.api.sign_in(user_handle="bob")
    await desk.api.sign_in(user_handle="bob", device_uuid="device-0002")
    await desk.api.connect(device.by_header)
    ada, shown = (await desk.get("/users"))["users"]
    assert (ada["permissions"], ada["devices"], ada["connections"]) == (["admin"], 1, 0)
    assert shown == {
        "id": bob,
        "user_handle": "bob",
        "permissions": [],
        "disabled": False,
        "created_at": shown["created_at"],
        "devices": 2,
        "connections": 1,
    }


async def test_pages_follow_each_other_without_a_gap(desk: Desk) -> None:
    for handle in ("b1", "b2", "b3", "b4"):
        await desk.api.add_user(handle)
    seen: list[str] = []
    after, more = 0, True
    while more:
        found = await desk.get(f"/users?after={after}&limit=2")
        seen += [one["user_handle"] for one in found["users"]]
        after, more = found["users"][-1]["id"], found["more"]
    assert seen == ["ada", "b1", "b2", "b3", "b4"]


async def test_a_search_finds_a_part_of_the_handle_in_any_case(desk: Desk) -> None:
    for handle in ("Grace", "gräfin", "50%", "a_b", "axb"):
        await desk.api.add_user(handle)
    assert await listed(desk, "?search=RAC") == ["Grace"]
    assert await listed(desk, "?search=GRÄF") == ["gräfin"]
    assert await listed(desk, "?search=%25") == ["50%"]
    assert await listed(desk, "?search=a_b") == ["a_b"]
    assert await listed(desk, "?search=%20Grace%20") == ["Grace"]
    assert await listed(desk, "?search=nobody") == []
    assert len(await listed(desk, "?search=")) == 6


async def test_users_from_outside_are_found_by_their_subject(start: Start) -> None:
    api = await start()
    async with api.app[DATABASE].write() as connection:
        await add_outside_user(connection, "https://app.example", "customer-7", 1)
    desk = Desk(api, await api.sign_in())
    [one] = (await desk.get("/users?search=omer-7"))["users"]
    assert (one["iss"], one["sub"]) == ("https://app.example", "customer-7")
    assert "user_handle" not in one
    password = {"new_password": PASSWORD}
    assert await desk.refused("POST", f"/users/{one['id']}/password", password) == (
        400,
        "no_password",
    )


async def test_online_shows_only_who_is_connected(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "STEP", 2)
    for number in range(6):
        await desk.api.add_user(f"user{number}")
        device = await desk.api.sign_in(user_handle=f"user{number}")
        if number != 3:
            await desk.api.connect(device.by_header)
    online = ["user0", "user1", "user2", "user4", "user5"]
    assert await listed(desk, "?online=1") == online
    assert await listed(desk, "?online=1&search=user4") == ["user4"]
    found = await desk.get("/users?online=1&limit=3")
    assert (len(found["users"]), found["more"]) == (3, True)
    last = found["users"][-1]["id"]
    found = await desk.get(f"/users?online=1&limit=3&after={last}")
    assert ([one["user_handle"] for one in found["users"]], found["more"]) == (online[3:], False)
    assert len(await listed(desk, "?online=0")) == 7


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "after=-1",
        f"after={1 << 63}",
        "online=yes",
        f"search={'x' * 65}",
        "search=%00",
        "search=a%0Ab",
    ],
)
async def test_a_parameter_out_of_its_range_is_refused(desk: Desk, query: str) -> None:
    assert await desk.refused("GET", f"/users?{query}") == (400, "invalid_parameter")


async def test_a_user_is_added_with_a_password_of_the_server(desk: Desk) -> None:
    made = await desk.do("POST", "/users", {"user_handle": "eve"})
    NewUserAnswer.model_validate(made)
    assert len(made["password"]) >= 20
    signed_in = await desk.api.sign_in(user_handle="eve", password=made["password"])
    assert signed_in.body["permissions"] == []
    assert "password" not in str(await desk.get("/users"))


async def test_a_user_is_added_with_a_password_that_was_given(desk: Desk) -> None:
    body = {"user_handle": "eve", "password": "a fine password", "admin": True}
    made = await desk.do("POST", "/users", body)
    assert "password" not in made
    assert made["permissions"] == ["admin"]
    await desk.api.sign_in(user_handle="eve", password="a fine password")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"user_handle": "Ada"}, (409, "handle_taken")),
        ({"user_handle": "two words"}, (400, "invalid_handle")),
        ({"user_handle": "eve", "password": "short"}, (400, "password_too_short")),
        ({"user_handle": "eve", "password": ""}, (400, "password_too_short")),
        ({"user_handle": "eve", "password": "x" * 1025}, (400, "invalid_body")),
        ({"user_handle": "eve", "password": "é" * 1000}, (400, "password_too_long")),
        ({"password": "a fine password"}, (400, "invalid_body")),
        ({"user_handle": "eve", "admin": "yes"}, (400, "invalid_body")),
    ],
    ids=str,
)
async def test_what_cannot_be_a_user_is_refused(
    desk: Desk, body: Any, refusal: tuple[int, str]
) -> None:
    assert await desk.refused("POST", "/users", body) == refusal
    assert await listed(desk) == ["ada"]


async def test_who_is_disabled_is_off_and_stays_out_until_enabled(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    device = await desk.api.sign_in(user_handle="bob")
    socket = await desk.api.connect(device.by_header)
    changed = await desk.do("PATCH", f"/users/{bob}", {"disabled": True})
    AdminUserAnswer.model_validate(changed)
    assert (changed["disabled"], changed["connections"], changed["devices"]) == (True, 0, 1)
    message = await socket.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (4502, "revoked")
    assert await desk.api.whoami(device.by_header) == 401
    assert (await desk.api.login(user_handle="bob")).status == 401
    assert (await desk.do("PATCH", f"/users/{bob}", {"disabled": False}))["disabled"] is False
    await desk.api.sign_in(user_handle="bob")


async def test_what_is_left_out_stays(desk: Desk) -> None:
    bob = await desk.api.add_user("bob", ("editor",))
    path = f"/users/{bob}"
    assert (await desk.do("PATCH", path, {"admin": True}))["permissions"] == ["editor", "admin"]
    both = await desk.do("PATCH", path, {"disabled": True, "admin": None})
    assert (both["permissions"], both["disabled"]) == (["editor", "admin"], True)
    assert (await desk.do("PATCH", path, {}))["disabled"] is True
    both = await desk.do("PATCH", path, {"disabled": False, "admin": False})
    assert (both["permissions"], both["disabled"]) == (["editor"], False)


async def test_two_administrators_cannot_demote_each_other(desk: Desk) -> None:
    bob = await desk.api.add_user("bob", ("admin",))
    accounts = desk.api.app[ACCOUNTS]
    await accounts.change_user(desk.user_id, disabled=None, admin=False, by=bob)
    with pytest.raises(Exception, match="for administrators"):
        await accounts.change_user(bob, disabled=None, admin=False, by=desk.user_id)
    assert (await accounts.get_user(bob)).is_admin


@pytest.mark.parametrize(
    ("method", "body"),
    [("PATCH", {"disabled": True}), ("PATCH", {"admin": False}), ("DELETE", None)],
    ids=str,
)
async def test_nobody_locks_themselves_out(desk: Desk, method: str, body: Any) -> None:
    path = f"/users/{desk.user_id}"
    assert await desk.refused(method, path, body) == (409, "own_account")
    assert (await desk.do("PATCH", path, {"disabled": False, "admin": True}))["disabled"] is False
    await desk.get("/overview")


async def test_a_key_is_nobody_and_may_change_everybody(desk: Desk) -> None:
    key = await shop(desk.api, "admin")
    response = await desk.api.http.patch(
        f"/v1/admin/users/{desk.user_id}", json={"admin": False}, headers=key.by_header
    )
    assert response.status == 200
    assert await desk.refused("GET", "/overview") == (403, "forbidden")


async def test_a_new_password_ends_every_session_of_the_user(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    device = await desk.api.sign_in(user_handle="bob")
    socket = await desk.api.connect(device.by_header)
    made = await desk.do("POST", f"/users/{bob}/password", {})
    MadePasswordAnswer.model_validate(made)
    assert (await socket.receive(timeout=PATIENCE)).data == 4502
    assert await desk.api.whoami(device.by_header) == 401
    assert (await desk.api.login(user_handle="bob")).status == 401
    await desk.api.sign_in(user_handle="bob", password=made["password"])
    given = {"new_password": "another fine one"}
    assert await desk.do("POST", f"/users/{bob}/password", given) == {}
    await desk.api.sign_in(user_handle="bob", password="another fine one")


async def test_a_deleted_user_is_gone_with_all_that_is_theirs(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    device = await desk.api.sign_in(user_handle="bob")
    socket = await desk.api.connect(device.by_header)
    assert (await desk.ask("DELETE", f"/users/{bob}")).status == 204
    assert (await socket.receive(timeout=PATIENCE)).data == 4502
    assert await desk.api.whoami(device.by_header) == 401
    assert await listed(desk) == ["ada"]
    assert desk.api.app[MANAGER].connection_count == 0
    await desk.do("POST", "/users", {"user_handle": "bob"})


@pytest.mark.parametrize("number", ["0", "99", "x", "-1", "9" * 30, "%00"])
@pytest.mark.parametrize(("method", "rest"), [("PATCH", ""), ("DELETE", ""), ("POST", "/password")])
async def test_an_unknown_user_is_not_found(
    desk: Desk, method: str, rest: str, number: str
) -> None:
    body = None if method == "DELETE" else {}
    refusal = await desk.refused(method, f"/users/{number}{rest}", body)
    assert refusal == (404, "user_not_found")
