"""A user may have so many new devices in a day; one that is known is never refused."""

from collections.abc import Awaitable, Callable

import pytest

from app.base.errors import Problem
from tests.auth.house import DAY, JWT_SETTINGS, Build, House, statements

Come = Callable[[House, int], Awaitable[object]]


async def sign_in(house: House, number: int) -> object:
    return await house.sign_in(uuid=f"device-{number:04}")


async def show_jwt(house: House, number: int) -> object:
    token = house.jwt(device_id=f"device-{number:04}", iat=house.clock())
    return await house.sessions.resolve(token, "header")


WAYS: dict[str, Come] = {"sign-in": sign_in, "JWT": show_jwt}


async def refused(attempt: Awaitable[object]) -> int:
    """Return after how many seconds the refusal says to come again."""
    with pytest.raises(Problem) as caught:
        await attempt
    assert (caught.value.status, caught.value.code) == (429, "too_many_devices")
    assert caught.value.retry_after is not None
    return caught.value.retry_after


async def ready(build: Build, limit: int = 2) -> House:
    house = await build(new_devices_per_day=limit, **JWT_SETTINGS)
    await house.user()
    return house


@pytest.mark.parametrize("way", WAYS)
async def test_one_more_is_refused_until_a_day_has_passed_since_the_oldest(
    build: Build, way: str
) -> None:
    house, come = await ready(build), WAYS[way]
    await come(house, 1)
    house.clock.advance(600)
    await come(house, 2)
    house.clock.advance(0.5)
    wait = await refused(come(house, 3))
    # Rounded up to the second.
    assert wait == DAY - 600
    house.clock.advance(wait - 1)
    assert await refused(come(house, 3)) == 1
    house.clock.advance(1)
    await come(house, 3)
    assert await refused(come(house, 4)) == 600


@pytest.mark.parametrize("way", WAYS)
async def test_a_known_device_is_never_refused(build: Build, way: str) -> None:
    house, come = await ready(build), WAYS[way]
    for number in (1, 2):
        await come(house, number)
    await refused(come(house, 3))
    for number in (1, 2):
        await come(house, number)
        house.clock.advance(1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_device_that_was_removed_counts_since_its_row_stays(build: Build, way: str) -> None:
    house, come = await ready(build), WAYS[way]
    for number in (1, 2):
        await come(house, number)
    for device in await house.accounts.list_devices():
        await house.accounts.revoke_device(device.id)
    house.clock.advance(1)
    # It would be a new device, too.
    await refused(come(house, 1))


async def test_the_limit_counts_each_user_alone(build: Build) -> None:
    house = await ready(build, limit=1)
    await house.user("bea")
    await sign_in(house, 1)
    await refused(sign_in(house, 2))
    await house.sign_in("bea")
    await show_jwt(house, 1)


async def test_a_restart_forgives_nothing(build: Build) -> None:
    house = await ready(build, limit=1)
    await show_jwt(house, 1)
    token = house.jwt(device_id="device-0002")
    await refused(house.restarted().resolve(token, "header"))


async def test_a_refused_jwt_is_good_later(build: Build) -> None:
    house = await ready(build, limit=1)
    await show_jwt(house, 1)
    token = house.jwt(device_id="device-0002", exp=house.clock() + 2 * DAY)
    await refused(house.sessions.resolve(token, "header"))
    house.clock.advance(DAY)
    await house.sessions.resolve(token, "header")


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_new_device_comes_in_after_a_day_and_not_a_millisecond_before(
    build: Build, restarted: bool
) -> None:
    house = await ready(build, limit=1)
    await show_jwt(house, 1)
    house.clock.advance(DAY - 0.001)
    sessions = house.restarted() if restarted else house.sessions
    token = house.jwt(device_id="device-0002")
    assert await refused(sessions.resolve(token, "header")) == 1
    house.clock.advance(0.001)
    await sessions.resolve(token, "header")


async def test_whoever_goes_on_being_refused_costs_one_select_and_no_write(build: Build) -> None:
    house = await ready(build, limit=1)
    await show_jwt(house, 1)
    await refused(show_jwt(house, 2))
    with statements(house.database) as asked:
        for number in range(3, 13):
            await refused(show_jwt(house, number))
    # None looks for a place among the devices, and none begins a transaction that writes.
    assert not any("IMMEDIATE" in one for one in asked.seen)
    assert not any("OFFSET" in one for one in asked.seen)


async def test_the_operator_may_make_as_many_as_it_takes(build: Build) -> None:
    house = await ready(build, limit=1)
    user = await house.user("bea")
    for number in range(3):
        await house.accounts.issue_token(user.id, f"device-{number:04}", "web")


async def test_zero_is_no_limit(build: Build) -> None:
    house = await ready(build, limit=0)
    for number in range(5):
        await show_jwt(house, number)


async def test_every_refusal_is_told_with_its_user(build: Build) -> None:
    house = await ready(build, limit=1)
    told: list[int] = []
    house.sessions.enrolment.new_devices.on_refused = told.append
    [user] = [user for user in await house.accounts.list_users() if user.handle]
    await sign_in(house, 1)
    for number in (2, 3):
        await refused(sign_in(house, number))
    assert told == [user.id, user.id]


async def test_a_clock_that_was_ahead_locks_nobody_out_for_longer_than_a_day(build: Build) -> None:
    house = await ready(build, limit=1)
    house.clock.advance(100 * DAY)
    await show_jwt(house, 1)
    house.clock.advance(-100 * DAY)
    # Dated after now, as nothing but the row knows.
    assert (
        await refused(house.restarted().resolve(house.jwt(device_id="other-0001"), "header")) == DAY
    )
