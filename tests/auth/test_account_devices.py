"""Devices of users: the limit, names, revocation."""

import pytest

from app.auth.accounts import SignedIn
from app.base.errors import Problem
from tests.auth.house import NOON, Build, House, closed, statements


async def not_found(awaitable: object) -> None:
    with pytest.raises(Problem) as caught:
        await awaitable  # type: ignore[misc]
    assert (caught.value.status, caught.value.code) == (404, "device_not_found")


def device_id(signed_in: SignedIn) -> int:
    assert signed_in.device is not None
    return signed_in.device.id


async def filled(house: House, count: int) -> list[SignedIn]:
    """Return the sign-ins of so many devices, a minute apart."""
    await house.user()
    found = []
    for number in range(count):
        found.append(await house.sign_in(uuid=f"device-{number:04}"))
        house.clock.advance(60)
    return found


async def test_at_the_limit_the_device_least_recently_seen_goes(build: Build) -> None:
    house = await build(max_devices_per_user=3)
    devices = await filled(house, 3)
    # Used since, which only memory knows yet: the second is the one seen least recently.
    await house.sessions.resolve(devices[0].token, "header")
    new = await house.sign_in(uuid="device-0009")
    assert closed(new.ended) == [
        ({"user_id": new.user.id, "device_id": device_id(devices[1])}, 4502, "revoked")
    ]
    kept = [device.id for device in await house.accounts.list_devices()]
    assert kept == [device_id(devices[0]), device_id(devices[2]), device_id(new)]


async def test_at_the_limit_a_device_that_is_away_goes_before_those_connected(build: Build) -> None:
    house = await build(max_devices_per_user=3)
    first, second, third = await filled(house, 3)
    house.sessions.enrolment.connected = lambda _user_id: {device_id(first), device_id(second)}
    new = await house.sign_in(uuid="device-0009")
    kept = [device.id for device in await house.accounts.list_devices()]
    assert kept == [device_id(first), device_id(second), device_id(new)]
    assert [selector.device_id for selector, _ in new.ended] == [device_id(third)]


async def test_at_the_limit_one_of_those_connected_goes_if_all_are(build: Build) -> None:
    house = await build(max_devices_per_user=2)
    first, second = await filled(house, 2)
    house.sessions.enrolment.connected = lambda _user_id: {device_id(first), device_id(second)}
    new = await house.sign_in(uuid="device-0009")
    assert [selector.device_id for selector, _ in new.ended] == [device_id(first)]


async def test_pruning_ends_the_devices_sessions_and_closes_its_sockets(build: Build) -> None:
    house = await build(max_devices_per_user=2)
    devices = await filled(house, 2)
    identity = await house.sessions.resolve(devices[1].token, "header")
    await house.sessions.resolve(devices[0].token, "header")
    house.clock.advance(60)
    await house.sessions.resolve(devices[0].token, "header")
    new = await house.sign_in(uuid="device-0009")
    assert closed(new.ended) == [
        ({"user_id": identity.user_id, "device_id": identity.device_id}, 4502, "revoked")
    ]
    assert not house.sessions.holds(identity)
    for sessions in (house.sessions, house.restarted()):
        with pytest.raises(Problem):
            await sessions.resolve(devices[1].token, "header")
        await sessions.resolve(devices[0].token, "header")


async def test_the_one_signing_in_never_goes_and_of_equals_the_lowest_id_does(
    build: Build,
) -> None:
    house = await build(max_devices_per_user=2)
    await house.user()
    found = [await house.sign_in(uuid=f"device-{number:04}") for number in range(4)]
    assert [closed(signed_in.ended) for signed_in in found[2:]] == [
        [({"user_id": 1, "device_id": device_id(found[number])}, 4502, "revoked")]
        for number in (0, 1)
    ]


async def test_the_one_signing_in_stays_also_when_the_clock_was_set_back(build: Build) -> None:
    house = await build(max_devices_per_user=2)
    first, _ = await filled(house, 2)
    house.clock.advance(-3600)
    new = await house.sign_in(uuid="device-0009")
    assert [selector.device_id for selector, _ in new.ended] == [device_id(first)]


async def test_a_known_device_signing_in_at_the_limit_removes_none(build: Build) -> None:
    house = await build(max_devices_per_user=2)
    await filled(house, 2)
    assert (await house.sign_in(uuid="device-0000")).ended == []


async def test_another_users_devices_do_not_count(build: Build) -> None:
    house = await build(max_devices_per_user=1)
    await house.user("bob")
    await house.sign_in("bob")
    await filled(house, 1)
    assert len(await house.accounts.list_devices()) == 2


async def test_a_pruned_device_is_a_tombstone_whose_number_never_comes_back(build: Build) -> None:
    house = await build(max_devices_per_user=1)
    old, new = await filled(house, 2)
    again = await house.sign_in(uuid="device-0000")
    assert len({device_id(old), device_id(new), device_id(again)}) == 3
    assert not await house.accounts.known_device(1, device_id(old))
    everything = await house.accounts.list_devices(1, include_removed=True)
    assert [device.removed_at is None for device in everything] == [False, False, True]


async def test_revoking_a_device_ends_all_of_its_sessions_and_no_other(house: House) -> None:
    one, other = await filled(house, 2)
    second = await house.sign_in(uuid="device-0000")
    identities = [
        await house.sessions.resolve(signed_in.token, "header")
        for signed_in in (one, second, other)
    ]
    ended = await house.accounts.revoke_device(device_id(one), one.user.id)
    assert closed(ended) == [
        ({"user_id": one.user.id, "device_id": device_id(one)}, 4502, "revoked")
    ]
    assert [house.sessions.holds(identity) for identity in identities] == [False, False, True]
    await not_found(house.accounts.get_device(device_id(one)))
    await not_found(house.accounts.revoke_device(device_id(one)))


async def test_an_unknown_and_another_users_device_get_one_answer(house: House) -> None:
    [mine] = await filled(house, 1)
    stranger = await house.user("bob")
    accounts = house.accounts
    for number in (device_id(mine), 99, 0, -1, 2**80):
        await not_found(accounts.rename_device(stranger.id, number, "x"))
        await not_found(accounts.revoke_device(number, stranger.id))
    assert (await accounts.get_device(device_id(mine))).device_name is None


@pytest.mark.parametrize(
    ("name", "kept"), [(" TV\x00 ", "TV"), ("é" * 150, "é" * 100), ("  ", None)]
)
async def test_a_device_is_renamed_as_it_names_itself(
    house: House, name: str, kept: str | None
) -> None:
    [mine] = await filled(house, 1)
    renamed = await house.accounts.rename_device(mine.user.id, device_id(mine), name)
    assert renamed.device_name == kept
    assert (await house.accounts.get_device(renamed.id)).device_name == kept


async def test_devices_are_listed_as_last_seen_before_that_is_written(house: House) -> None:
    [mine] = await filled(house, 1)
    identity = await house.sessions.resolve(mine.token, "header")
    house.clock.advance(5)
    house.touch(identity)
    with statements(house.database) as asked:
        [listed] = await house.accounts.list_devices(mine.user.id)
    assert asked.count("UPDATE") == 0
    assert listed.last_seen == int((NOON + 65) * 1000)


async def test_the_owner_of_a_device_is_known_from_memory(house: House) -> None:
    [mine] = await filled(house, 1)
    number = device_id(mine)
    with statements(house.database) as asked:
        assert await house.accounts.known_device(mine.user.id, number)
        assert not await house.accounts.known_device(mine.user.id + 1, number)
    assert asked.seen == []
    await house.accounts.revoke_device(number)
    with statements(house.database) as asked:
        assert not await house.accounts.known_device(mine.user.id, number)
    assert asked.seen == []


async def test_a_device_memory_does_not_know_costs_one_select(house: House) -> None:
    [mine] = await filled(house, 1)
    owners = house.restarted().owners
    with statements(house.database) as asked:
        for _ in range(2):
            assert await owners.load(device_id(mine)) == mine.user.id
            assert await owners.load(77) is None
            assert await owners.load(2**80) is None
    assert asked.count("SELECT") == 2


async def test_a_number_asked_for_too_early_is_known_once_it_is_a_device(house: House) -> None:
    user = await house.user()
    assert not await house.accounts.known_device(user.id, 1)
    signed_in = await house.sign_in()
    assert device_id(signed_in) == 1
    assert await house.accounts.known_device(user.id, 1)
