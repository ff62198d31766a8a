"""A user's stream and devices, for those who debug."""

import time
from typing import Any

import pytest

from app.keys import NODE
from app.web import users
from app.web.users import StreamAnswer, UserDevicesAnswer
from tests.web.api import Api
from tests.web.backend import Shop, acknowledge, receive, shop


@pytest.fixture
async def backend(api: Api) -> Shop:
    return await shop(api, "admin")


async def page(backend: Shop, query: str = "") -> dict[str, Any]:
    return await backend.get(f"/v1/users/{await backend.user_id()}/stream{query}")


async def devices(backend: Shop) -> dict[int, dict[str, Any]]:
    found = await backend.get(f"/v1/users/{await backend.user_id()}/devices")
    UserDevicesAnswer.model_validate(found)
    return {one["id"]: one for one in found["devices"]}


async def test_an_empty_stream_is_an_empty_page(backend: Shop) -> None:
    epoch = backend.api.app[NODE].log.epoch
    assert await page(backend) == {"epoch": epoch, "rows": [], "through": 0, "more": False}


async def test_a_stream_has_what_is_kept_for_the_user_and_for_everyone(backend: Shop) -> None:
    await backend.api.add_user("bob")
    one, two = [await backend.device(number) for number in (1, 2)]
    before = int(time.time() * 1000)
    await backend.send({"user": "ada"}, "note.ephemeral")
    await backend.send({"user": "bob"}, "note.his", store="log")
    await backend.send({"device": one.device_id}, "note.one", {"n": None}, store="log", ttl=60)
    await backend.send(
        {"user": "ada", "exclude_device": two.device_id}, "note.two", store="latest", key="k"
    )
    await backend.send({"everyone": True}, "note.all", store="log")
    await backend.send({"user": "ada"}, "note.three", key="k", delete=True)
    found = await page(backend)
    StreamAnswer.model_validate(found)
    types = [row["type"] for row in found["rows"]]
    assert types == ["note.one", "note.two", "note.all", "note.three"]
    first, second, third, deletion = found["rows"]
    assert first["payload"] == {"n": None}
    assert first["to"] == {"device": one.device_id}
    assert before <= first["created_at"] <= first["expires_at"] - 60_000
    assert second["payload"] is None
    assert second["to"] == {
        "user": one.body["user_id"],
        "exclude_device": two.device_id,
    }
    assert second["key"] == "k"
    assert third["to"] == {"everyone": True}
    assert (deletion["key"], deletion["payload"], deletion["deleted"]) == ("k", None, True)
    assert "deleted" not in second
    assert found["through"] == deletion["offset"]


async def test_what_a_device_sent_has_its_source(backend: Shop) -> None:
    device = await backend.device()
    socket = await backend.positioned(device)
    body = {"to": "others", "type": "note.text", "payload": 1, "store": "log"}
    await socket.send_json({"type": "device.send", "id": "1", "payload": body})
    assert (await receive(socket))["type"] in ("ok", "position")
    [row] = (await page(backend))["rows"]
    StreamAnswer.model_validate(await page(backend))
    assert row["from"] == {"device_id": device.device_id, "instance": "default"}
    assert row["to"]["exclude_instance"] == "default"


async def test_pages_follow_each_other_without_a_gap(backend: Shop) -> None:
    outcomes = await backend.batch(
        *({"to": {"user": "ada"}, "type": "note.text", "store": "log"} for _ in range(5))
    )
    offsets = [one["offset"] for one in outcomes]
    seen: list[int] = []
    after, more = 0, True
    while more:
        found = await page(backend, f"?after={after}&limit=2")
        seen += [row["offset"] for row in found["rows"]]
        after, more = found["through"], found["more"]
    assert seen == offsets
    assert (await page(backend, f"?after={offsets[-1]}"))["rows"] == []


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "after=", "after=1.0", f"after={1 << 63}", "limit=0", "limit=1001"],
)
async def test_a_parameter_out_of_its_range_is_refused(backend: Shop, query: str) -> None:
    path = f"/v1/users/{await backend.user_id()}/stream?{query}"
    response = await backend.api.http.get(path, headers=backend.by_header)
    assert response.status == 400
    assert (await response.json(content_type=None))["code"] == "invalid_parameter"


@pytest.mark.parametrize("number", ["0", "99", "x", "-1", "9" * 30, "%31%30%30"])
@pytest.mark.parametrize("what", ["stream", "devices"])
async def test_an_unknown_user_is_not_found(backend: Shop, number: str, what: str) -> None:
    path = f"/v1/users/{number}/{what}"
    response = await backend.api.http.get(path, headers=backend.by_header)
    assert response.status == 404
    assert (await response.json(content_type=None))["code"] == "user_not_found"


async def test_devices_tell_who_is_online_and_how_far_behind(backend: Shop) -> None:
    one, two = [await backend.device(number) for number in (1, 2)]
    socket = await backend.positioned(one)
    first = await backend.send({"user": "ada"}, store="log")
    assert (await receive(socket))["offset"] == first["offset"]
    await acknowledge(socket, first["offset"])
    found = await devices(backend)
    assert found[one.device_id]["online"] is True
    assert found[one.device_id]["instances"] == ["default"]
    assert found[one.device_id]["cursor"] == {
        "epoch": first["epoch"],
        "offset": first["offset"],
    }
    assert found[one.device_id]["lag"] == 0
    assert found[two.device_id]["online"] is False
    assert "cursor" not in found[two.device_id]
    assert "lag" not in found[two.device_id]


async def test_lag_counts_what_is_for_the_device(
    backend: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await backend.api.add_user("bob")
    one, two = [await backend.device(number) for number in (1, 2)]
    socket = await backend.positioned(one)
    first = await backend.send({"user": "ada"}, store="log")
    assert (await receive(socket))["offset"] == first["offset"]
    await acknowledge(socket, first["offset"])
    await socket.close()
    await backend.away(one)
    for to in (
        {"user": "ada"},
        {"everyone": True},
        {"device": one.device_id},
        {"device": two.device_id},
        {"user": "ada", "exclude_device": one.device_id},
        {"user": "ada", "exclude_device": two.device_id},
        {"user": "bob"},
    ):
        await backend.send(to, store="log")
    assert (await devices(backend))[one.device_id]["lag"] == 4
    monkeypatch.setattr(users, "MAX_LAG", 3)
    assert (await devices(backend))[one.device_id]["lag"] == 3


async def test_a_cursor_of_an_older_epoch_has_no_lag_and_waits_for_nothing(backend: Shop) -> None:
    device = await backend.device()
    socket = await backend.positioned(device)
    first = await backend.send({"user": "ada"}, store="log")
    assert (await receive(socket))["offset"] == first["offset"]
    await acknowledge(socket, first["offset"])
    await backend.api.app[NODE].delivery.standings.save()
    await backend.api.app[NODE].reset_streams()
    await backend.away(device)
    found = (await devices(backend))[device.device_id]
    assert "lag" not in found
    assert (await backend.send({"user": "ada"}, store="log"))["waiting"] == []
    assert (await backend.send({"everyone": True}, store="log"))["waiting"] == 0
