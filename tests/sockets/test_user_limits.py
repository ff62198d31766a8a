"""Limits of a user who has many connections: each of them alone is within its own."""

from contextlib import suppress

import outside
import pytest
from aiohttp import ClientSession
from log_output import logging_to_memory
from serving import PASSWORD, Device, Peer, RawPeer, Server, masked
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.keys import NODE, SETTINGS

SLOW = 0.0001
"""A rate at which nothing comes back during a test."""


async def tabs(server: Server, device: Device, number: int) -> list[Peer]:
    """Connections of one device, side by side."""
    return [await server.connect(device, f"?instance=tab{one}") for one in range(number)]


async def refused(peer: Peer, type_: str, payload: object = None) -> dict[str, object]:
    """Send what is above a limit; return the payload of the refusal."""
    answer = await peer.ask(type_, payload)
    assert answer["type"] == "error", answer
    return dict(answer["payload"])


def note(**more: object) -> dict[str, object]:
    return {"to": "others", "type": "note.text", "payload": "hello", **more}


async def test_messages_of_all_connections_of_a_user_count_together(serve) -> None:
    server = await serve(user_messages_per_second=SLOW, user_messages_burst=4)
    phone, laptop = await server.device("phone"), await server.device("laptop")
    first, second = await server.connect(phone), await server.connect(laptop)
    for peer in (first, second) * 2:
        assert (await peer.ask("ping"))["type"] == "pong"
    refusal = await refused(first, "ping")
    assert refusal["code"] == "rate_limited"
    assert "this user" in str(refusal["message"])
    assert refusal["retry_after_ms"] > 1000  # type: ignore[operator]
    assert (await refused(second, "ping"))["code"] == "rate_limited"


async def test_a_limit_of_one_user_is_no_limit_of_another(serve) -> None:
    server = await serve(user_messages_per_second=SLOW, user_messages_burst=1)
    ada = await server.connect(await server.device("phone", "ada"))
    bob = await server.connect(await server.device("phone", "bob"))
    await ada.ask("ping")
    await refused(ada, "ping")
    assert (await bob.ask("ping"))["type"] == "pong"


async def test_coming_back_does_not_fill_an_allowance(serve) -> None:
    server = await serve(user_messages_per_second=SLOW, user_messages_burst=1)
    phone = await server.device()
    peer = await server.connect(phone)
    await peer.ask("ping")
    await peer.close()
    await server.until(lambda: server.manager.connection_count == 0)
    again = await server.connect(phone)
    assert (await refused(again, "ping"))["code"] == "rate_limited"


async def test_bytes_of_all_connections_of_a_user_count_together(serve) -> None:
    server = await serve(user_bytes_per_second=SLOW, user_bytes_burst=2048, max_message_bytes=1024)
    first, second = await tabs(server, await server.device(), 2)
    for peer in (first, second):
        assert (await peer.ask("ping", "x" * 900))["type"] == "pong"
    refusal = await refused(first, "ping", "x" * 900)
    assert "bytes" in str(refusal["message"])
    assert (await second.ask("ping"))["type"] == "pong", "a small one still fits"


@pytest.mark.parametrize(
    ("more", "reach"), [({}, 3), ({"to": "user"}, 3), ({"store": "log"}, 3)], ids=str
)
async def test_deliveries_are_counted_and_a_message_above_the_limit_reaches_nobody(
    serve, more: dict[str, object], reach: int
) -> None:
    server = await serve(
        user_deliveries_per_second=SLOW, user_deliveries_burst=2 * reach, user_upgrades_per_second=0
    )
    phone = await server.device("phone")
    sender = await server.connect(phone)
    others = [await server.connect(await server.device(f"tv{one}")) for one in range(reach - 1)]
    for _ in range(2):
        await sender.send("device.send", note(**more))
    await sender.send("device.send", note(**more), id="above")
    while (answer := await sender.receive()).get("reply_to") != "above":
        pass
    assert answer["payload"]["code"] == "rate_limited"
    assert "retry_after_ms" in answer["payload"]
    for peer in others:
        assert [(await peer.receive())["type"] for _ in range(2)] == ["note.text"] * 2
        await peer.silence()


async def test_a_message_that_reaches_nobody_costs_no_deliveries(serve) -> None:
    server = await serve(user_deliveries_per_second=SLOW, user_deliveries_burst=1)
    tv = await server.device("tv")
    peer = await server.connect(await server.device("phone"))
    for _ in range(5):
        answer = await peer.ask("device.send", note(to=tv.device_id))
        assert answer["payload"] == {"delivered": []}


async def test_durable_messages_of_all_connections_of_a_user_count_together(serve) -> None:
    server = await serve(user_durable_per_second=SLOW, user_durable_burst=2)
    first, second = await tabs(server, await server.device(), 2)
    for peer in (first, second):
        await peer.send("device.send", note(store="log", message_id=f"m{id(peer)}"))
    for peer in (first, second):
        assert (await peer.receive())["type"] == "note.text"
    refusal = await refused(first, "device.send", note(store="log"))
    assert refusal["code"] == "rate_limited"
    assert "durable" in str(refusal["message"])
    assert refusal["retry_after_ms"] > 1000  # type: ignore[operator]
    assert (await first.ask("device.send", note()))["type"] == "ok"


async def test_the_connection_that_floods_is_closed_and_not_the_one_beside_it(serve) -> None:
    server = await serve(
        messages_per_second=0, user_messages_per_second=SLOW, user_messages_burst=1
    )
    phone, laptop = await server.device("phone"), await server.device("laptop")
    quiet, flood = await server.connect(phone), await RawPeer.upgrade(server, laptop)
    await quiet.ask("ping")
    flood.write(masked(b'{"type":"ping"}') * 5000)
    assert await flood.close_code() == 4003
    assert (await refused(quiet, "ping"))["code"] == "rate_limited"


async def test_what_single_connections_refuse_counts_for_the_user(serve) -> None:
    server = await serve(messages_per_second=SLOW, messages_burst=1000)
    phone = await server.device("phone")
    node = server.app[NODE]
    for number in range(3):
        peer = await RawPeer.upgrade(server, await server.device(f"tv{number}"))
        peer.write(masked(b'{"type":"ping"}') * 2500)
        assert await peer.close_code() == 4003
    # The first was closed a burst above its burst; for the others the user's patience was over.
    assert node.metrics.limited["connection"] < 1001 + 2 * 500 + 100
    assert phone.user_id


# Upgrades


async def status_of(server: Server, device: Device) -> tuple[int, str | None]:
    """Return what an upgrade is answered, and when to come back."""
    try:
        peer = await server.open(device)
    except InvalidStatus as refusal:
        return refusal.response.status_code, refusal.response.headers.get("Retry-After")
    await peer.close()
    return 101, None


async def test_one_upgrade_too_many_is_429_and_says_when_to_come_back(serve) -> None:
    server = await serve(user_upgrades_per_second=0.1, user_upgrades_burst=3)
    phone = await server.device()
    assert [await status_of(server, phone) for _ in range(3)] == [(101, None)] * 3
    status, wait = await status_of(server, phone)
    assert (status, wait) in {(429, "9"), (429, "10")}
    assert server.app[NODE].metrics.refused["rate_limited"] == 1
    other = await server.device("phone", "bob")
    assert (await status_of(server, other))[0] == 101


async def test_a_dead_session_and_a_foreign_page_are_refused_before_they_count(serve) -> None:
    server = await serve(user_upgrades_per_second=SLOW, user_upgrades_burst=1)
    phone = await server.device()
    for _ in range(3):
        with pytest.raises(InvalidStatus, match="403"):
            await server.open(phone, headers={"Origin": "https://elsewhere.example"})
        with pytest.raises(InvalidStatus, match="401"):
            await server.open(headers={"Authorization": "wrong"})
    with suppress(ConnectionClosed):
        await (await server.open(phone)).receive()
    with pytest.raises(InvalidStatus, match="429"):
        await server.open(phone, "?offset=1")


async def test_sixteen_tabs_that_return_every_three_seconds_pass(server: Server) -> None:
    settings = server.app[SETTINGS]
    assert settings.user_upgrades_per_second >= 16 / 3
    assert settings.user_upgrades_burst >= settings.max_connections_per_user


async def test_a_user_who_connects_in_a_loop_writes_a_few_lines_and_a_count(serve) -> None:
    server = await serve()
    phone, quiet = await server.device(), await server.device("phone", "bob")
    with logging_to_memory() as output:
        for _ in range(60):
            await (await server.connect(phone)).close()
        await (await server.connect(quiet)).close()
        await server.until(lambda: server.manager.connection_count == 0)
        output.close()
        lines = output.lines
    for message in ("connected", "disconnected"):
        of_ada = [one for one in lines if (one["message"], one["user"]) == (message, phone.user_id)]
        # Twenty, and one for each second that this took.
        assert len(of_ada) < 50
        assert len(of_ada) + sum(one.get("suppressed", 1) - 1 for one in of_ada) == 60
        assert sum((one["message"], one["user"]) == (message, quiet.user_id) for one in lines) == 1


# Writes over HTTP


async def test_one_write_too_many_is_429_and_says_when_to_come_back(serve) -> None:
    server = await serve(user_writes_per_second=SLOW, user_writes_burst=2)
    phone = await server.device()
    path = f"http://{server.host}/v1/devices/{phone.device_id}"
    async with ClientSession(headers=phone.by_header) as http:
        for name in ("One", "Two"):
            async with http.patch(path, json={"device_name": name}) as answer:
                assert answer.status == 200
        async with http.patch(path, json={"device_name": "Three"}) as answer:
            problem = await answer.json()
            assert (answer.status, problem["code"]) == (429, "rate_limited")
            assert int(answer.headers["Retry-After"]) > 1
        async with http.delete(path) as answer:
            assert answer.status == 429
        async with http.get(f"http://{server.host}/v1/devices") as answer:
            assert answer.status == 200
            assert [one["device_name"] for one in (await answer.json())["devices"]] == ["Two"]


async def test_who_is_above_the_limit_can_still_sign_out(serve) -> None:
    server = await serve(user_writes_per_second=SLOW, user_writes_burst=1)
    phone = await server.device()
    async with ClientSession(headers=phone.by_header) as http:
        for _ in range(2):
            async with http.post(f"http://{server.host}/v1/devices/revoke-others") as answer:
                last = answer.status
        assert last == 429
        async with http.post(f"http://{server.host}/v1/auth/logout") as answer:
            assert answer.status == 200


# New devices


async def test_one_new_device_too_many_is_429_and_a_known_one_comes_in(serve) -> None:
    server = await serve(new_devices_per_day=1, **outside.SETTINGS)
    phone, laptop = [
        {"Authorization": f"Bearer {outside.token('eve', device_id=f'device-{name}')}"}
        for name in ("phone", "laptop")
    ]
    await (await server.open(headers=phone)).close()
    with pytest.raises(InvalidStatus) as refused:
        await server.open(headers=laptop)
    response = refused.value.response
    assert response.status_code == 429
    assert 86_000 < int(response.headers["Retry-After"]) <= 86_400
    assert b'"too_many_devices"' in response.body
    async with ClientSession() as http:
        who = f"http://{server.host}/v1/auth/session"
        async with http.get(who, headers=laptop) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "too_many_devices")
            assert int(answer.headers["Retry-After"]) > 86_000
        async with http.get(who, headers=phone) as answer:
            assert answer.status == 200
    node = server.app[NODE]
    assert node.metrics.refused["too_many_devices"] == 1
    [met] = node.allowances.limited.recent()
    assert (met.limit, met.count) == ("devices", 2)


async def test_a_right_password_on_one_new_device_too_many_is_429(serve) -> None:
    server = await serve(new_devices_per_day=2)
    await server.device()
    credentials = {"user_handle": "ada", "password": PASSWORD, "device_type": "web"}
    login = f"http://{server.host}/v1/auth/login"
    async with ClientSession() as http:
        for uuid, status in (("a-new-one", 201), ("another-one", 429), ("a-new-one", 201)):
            async with http.post(login, json={**credentials, "device_uuid": uuid}) as answer:
                assert answer.status == status
                if status == 429:
                    assert (await answer.json())["code"] == "too_many_devices"
