"""The user's devices over HTTP."""

from typing import Any

import pytest
from serving import PATIENCE

from app.base.errors import Problem
from app.keys import ACCOUNTS, SESSIONS
from app.web.devices import RevokedAnswer
from tests.web.api import COOKIE, Api, SignedIn, problem


async def listed(api: Api, who: SignedIn) -> dict[int, dict[str, Any]]:
    response = await api.http.get("/v1/devices", headers=who.by_header)
    assert response.status == 200
    return {device["id"]: device for device in (await response.json())["devices"]}


async def test_a_user_sees_all_their_devices_and_which_one_asks(api: Api) -> None:
    web = await api.sign_in(device_name="Laptop", os_info="Linux")
    phone = await api.sign_in(device_uuid="device-0002", device_type="Android")
    devices = await listed(api, web)
    assert set(devices) == {web.device_id, phone.device_id}
    assert devices[web.device_id]["this_device"] is True
    assert devices[phone.device_id]["this_device"] is False
    assert devices[web.device_id]["device_uuid"] == "device-0001"
    assert devices[web.device_id]["device_name"] == "Laptop"
    assert devices[web.device_id]["os_info"] == "Linux"
    assert devices[phone.device_id]["device_type"] == "android"


async def test_what_is_not_known_is_left_out_and_times_are_whole_milliseconds(api: Api) -> None:
    ada = await api.sign_in()
    device = (await listed(api, ada))[ada.device_id]
    assert "device_name" not in device
    assert "os_info" not in device
    for name in ("created_at", "last_seen"):
        assert type(device[name]) is int
        assert device[name] > 1_600_000_000_000


async def test_nobody_sees_the_devices_of_another_user(api: Api) -> None:
    await api.add_user("bob")
    ada = await api.sign_in()
    bob = await api.sign_in(user_handle="bob")
    assert set(await listed(api, bob)) == {bob.device_id}
    assert set(await listed(api, ada)) == {ada.device_id}


async def test_a_connected_device_is_online_with_its_connections(api: Api) -> None:
    ada = await api.sign_in()
    away = await api.sign_in(device_uuid="device-0002")
    await api.http.ws_connect("/v1/ws?instance=one", headers=ada.by_header)
    socket = await api.http.ws_connect("/v1/ws?instance=two", headers=ada.by_header)
    connected = (await socket.receive_json(timeout=PATIENCE))["payload"]
    devices = await listed(api, ada)
    device = devices[ada.device_id]
    assert device["online"] is True
    assert {one["instance"] for one in device["connections"]} == {"one", "two"}
    two = next(one for one in device["connections"] if one["instance"] == "two")
    assert two["connection_id"] == connected["connection_id"]
    assert type(two["connected_at"]) is int
    assert devices[away.device_id]["online"] is False
    assert devices[away.device_id]["connections"] == []


async def test_a_device_is_renamed_and_its_name_is_cut(api: Api) -> None:
    ada = await api.sign_in()
    path = f"/v1/devices/{ada.device_id}"
    response = await api.http.patch(
        path, json={"device_name": "  Kit\u0007chen " + "é" * 200}, headers=ada.by_header
    )
    name = (await response.json())["device_name"]
    assert response.status == 200
    assert name.startswith("Kitchen é")
    assert len(name) == 100
    assert (await listed(api, ada))[ada.device_id]["device_name"] == name


async def test_null_takes_the_name_away(api: Api) -> None:
    ada = await api.sign_in(device_name="Kitchen")
    path = f"/v1/devices/{ada.device_id}"
    response = await api.http.patch(path, json={"device_name": None}, headers=ada.by_header)
    assert response.status == 200
    assert "device_name" not in await response.json()


async def test_renaming_without_a_name_is_refused(api: Api) -> None:
    ada = await api.sign_in()
    path = f"/v1/devices/{ada.device_id}"
    response = await api.http.patch(path, json={}, headers=ada.by_header)
    assert response.status == 400
    assert (await problem(response))["errors"][0]["field"] == "device_name"


async def test_a_revoked_device_is_signed_out_and_its_sockets_close(api: Api) -> None:
    ada = await api.sign_in()
    lost = await api.sign_in(device_uuid="device-0002")
    socket = await api.connect(lost.by_header)
    response = await api.http.delete(f"/v1/devices/{lost.device_id}", headers=ada.by_header)
    assert response.status == 204
    message = await socket.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (4502, "revoked")
    assert await api.whoami(lost.by_header) == 401
    assert set(await listed(api, ada)) == {ada.device_id}


async def test_the_device_in_use_may_be_revoked_and_loses_its_cookie(api: Api) -> None:
    ada = await api.sign_in()
    response = await api.http.delete(f"/v1/devices/{ada.device_id}", headers=ada.by_cookie)
    assert response.status == 204
    assert response.cookies[COOKIE].value == ""
    assert await api.whoami(ada.by_header) == 401


async def test_revoking_another_device_leaves_the_cookie_alone(api: Api) -> None:
    ada = await api.sign_in()
    lost = await api.sign_in(device_uuid="device-0002")
    response = await api.http.delete(f"/v1/devices/{lost.device_id}", headers=ada.by_cookie)
    assert "Set-Cookie" not in response.headers
    assert await api.whoami(ada.by_cookie) == 200


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    "device_id", ["999", "0", "-1", "one", "1.0", "١", "9" * 19, "9" * 5000, "%00", "1%2F2"]
)
async def test_an_unknown_device_is_404_whatever_its_id_looks_like(
    api: Api, method: str, device_id: str
) -> None:
    ada = await api.sign_in()
    response = await api.http.request(
        method,
        f"/v1/devices/{device_id}",
        json={"device_name": "x"} if method == "PATCH" else None,
        headers=ada.by_header,
    )
    assert response.status == 404
    assert (await problem(response))["code"] == "device_not_found"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_the_device_of_another_user_does_not_exist(api: Api, method: str) -> None:
    await api.add_user("bob")
    ada = await api.sign_in()
    bob = await api.sign_in(user_handle="bob")
    response = await api.http.request(
        method,
        f"/v1/devices/{bob.device_id}",
        json={"device_name": "x"} if method == "PATCH" else None,
        headers=ada.by_header,
    )
    assert response.status == 404
    assert (await problem(response))["code"] == "device_not_found"
    assert await api.whoami(bob.by_header) == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PATCH", "/1"), ("DELETE", "/1"), ("POST", "/revoke-others")]
)
async def test_devices_are_for_those_who_signed_in(api: Api, method: str, path: str) -> None:
    response = await api.http.request(method, f"/v1/devices{path}", json={"device_name": "x"})
    assert response.status == 401


async def test_all_other_devices_are_signed_out_at_once(api: Api) -> None:
    await api.add_user("bob")
    bob = await api.sign_in(user_handle="bob")
    ada = await api.sign_in()
    others = [await api.sign_in(device_uuid=f"device-100{number}") for number in range(3)]
    mine = await api.connect(ada.by_header)
    sockets = [await api.connect(one.by_header) for one in others]
    response = await api.http.post("/v1/devices/revoke-others", headers=ada.by_cookie)
    assert response.status == 200
    body = await response.json()
    RevokedAnswer.model_validate(body)
    assert body == {"revoked": [one.device_id for one in others]}
    for socket, one in zip(sockets, others, strict=True):
        message = await socket.receive(timeout=PATIENCE)
        assert (message.data, message.extra) == (4502, "revoked")
        assert await api.whoami(one.by_header) == 401
    await mine.send_json({"type": "ping"})
    assert (await mine.receive_json(timeout=PATIENCE))["type"] == "pong"
    assert await api.whoami(ada.by_cookie) == 200
    assert await api.whoami(bob.by_header) == 200
    assert set(await listed(api, ada)) == {ada.device_id}
    again = await api.http.post("/v1/devices/revoke-others", headers=ada.by_header)
    assert await again.json() == {"revoked": []}


async def test_a_device_that_was_itself_revoked_revokes_no_other(api: Api) -> None:
    ada, lost = await api.sign_in(), await api.sign_in(device_uuid="device-0002")
    identity = await api.app[SESSIONS].resolve(lost.token, "header")
    await api.http.delete(f"/v1/devices/{lost.device_id}", headers=ada.by_header)
    with pytest.raises(Problem) as refused:
        await api.app[ACCOUNTS].revoke_other_devices(identity)
    assert refused.value.code == "unauthorized"
    assert set(await listed(api, ada)) == {ada.device_id}


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
async def test_revoking_the_others_is_a_post(api: Api, method: str) -> None:
    ada = await api.sign_in()
    response = await api.http.request(
        method,
        "/v1/devices/revoke-others",
        json={"device_name": "x"} if method == "PATCH" else None,
        headers=ada.by_header,
    )
    assert response.status in (404, 405)
    assert set(await listed(api, ada)) == {ada.device_id}
