"""Nobody is signed out by a clock that is wrong for a while, and what was ended stays ended."""

import pytest

from app.base.clock import Verdict
from tests.auth.house import House, dead, refused

DAY = 86_400


@pytest.mark.parametrize("seen_before", [True, False])
async def test_a_clock_that_is_ahead_ends_no_session(house: House, seen_before: bool) -> None:
    await house.user()
    token = (await house.sign_in()).token
    identity = await house.sessions.resolve(token, "header")
    house.clock.jumped = 400 * DAY
    house.clock.advance(7200)
    await house.cleaner.purge()
    sessions = house.sessions if seen_before else house.restarted()
    assert sessions.holds(identity)
    await sessions.resolve(token, "header")
    assert len(await house.accounts.list_sessions(identity.user_id)) == 1


@pytest.mark.parametrize("seen_before", [True, False])
async def test_a_clock_that_is_ahead_ends_no_jwt(house: House, seen_before: bool) -> None:
    token = house.jwt()
    if seen_before:
        await house.sessions.resolve(token, "header")
    house.clock.jumped = 400 * DAY
    await house.sessions.resolve(token, "header")
    house.clock.jumped = 0
    house.clock.advance(3600)
    await refused(house.sessions, token)


async def test_jwts_of_now_hold_before_a_right_clock_is_trusted(house: House) -> None:
    house.clock.jumped = 3 * DAY
    now = house.clock.stamp()
    await house.sessions.resolve(house.jwt(iat=now, nbf=now, exp=now + 60), "header")


async def test_a_session_begun_before_a_right_clock_is_trusted_does_not_end_early(
    house: House,
) -> None:
    await house.user()
    house.clock.jumped = 400 * DAY
    token = (await house.sign_in()).token
    house.clock.advance(house.clock.jumped + 600)
    house.clock.jumped = 0
    await house.sessions.resolve(token, "header")
    await house.restarted().resolve(token, "header")


async def test_a_use_by_a_clock_that_is_behind_makes_no_session_older(house: House) -> None:
    await house.user()
    token = (await house.sign_in()).token
    await house.sessions.resolve(token, "header")
    # It was believed, as it had been behind for more than ten minutes.
    house.clock.advance(-40 * DAY)
    await house.sessions.resolve(token, "header")
    await house.sessions.flush()
    house.clock.advance(40 * DAY)
    await house.sessions.resolve(token, "header")
    await house.restarted().resolve(token, "header")


async def test_people_do_not_see_that_a_device_was_used_in_the_future(house: House) -> None:
    await house.user()
    signed_in = await house.sign_in()
    house.clock.jumped = 40 * DAY
    await house.sessions.resolve(signed_in.token, "header")
    await house.sessions.flush()
    house.clock.jumped = 0
    await house.sessions.resolve(signed_in.token, "header")
    await house.sessions.flush()
    assert signed_in.device is not None
    device = await house.accounts.get_device(signed_in.device.id)
    assert device.last_seen == int(house.clock.now * 1000)


# What is ended meanwhile


async def test_a_revoked_devices_jwts_end_before_a_right_clock_is_trusted(house: House) -> None:
    house.clock.jumped = 3 * DAY
    now = house.clock.stamp()
    unseen = house.jwt(iat=now - 60, exp=now + 3600)
    identity = await house.sessions.resolve(house.jwt(iat=now - 3600, exp=now + 60), "header")
    await house.accounts.revoke_device(identity.device_id or 0)
    await house.sessions.settle(Verdict.BELIEVED)
    house.clock.advance(house.clock.jumped)
    house.clock.jumped = 0
    assert await dead(house, unseen)


@pytest.mark.parametrize("what", ["device", "user"])
async def test_a_clock_that_was_ahead_locks_nobody_out(house: House, what: str) -> None:
    old = house.jwt()
    identity = await house.sessions.resolve(old, "header")
    house.clock.jumped = 400 * DAY
    if what == "device":
        await house.accounts.sign_out(identity)
    else:
        await house.accounts.disable_user(identity.user_id)
        await house.accounts.enable_user(identity.user_id)
    house.clock.advance(5)
    early = house.jwt()
    await refused(house.sessions, early)
    house.clock.jumped = 0
    await house.sessions.settle(Verdict.TAKEN_BACK)
    assert await dead(house, old)
    assert await dead(house, early)
    house.clock.advance(1)
    new = house.jwt()
    await house.sessions.resolve(new, "header")
    await house.restarted().resolve(new, "header")


async def test_what_ends_after_the_jump_is_not_corrected_with_what_ended_in_it(
    house: House,
) -> None:
    identity = await house.sessions.resolve(house.jwt(), "header")
    house.clock.jumped = 400 * DAY
    await house.accounts.sign_out(identity)
    house.clock.jumped = 0
    await house.sessions.settle(Verdict.TAKEN_BACK)
    house.clock.advance(1)
    later = house.jwt()
    await house.accounts.sign_out(await house.sessions.resolve(later, "header"))
    await house.sessions.settle(Verdict.TAKEN_BACK)
    assert await dead(house, later)


async def test_a_jwt_refused_by_a_clock_that_was_wrong_holds_again(house: House) -> None:
    token = house.jwt()
    house.clock.advance(40 * DAY)
    await refused(house.sessions, token)
    house.clock.advance(-40 * DAY)
    await house.sessions.settle(Verdict.BELIEVED)
    await house.sessions.resolve(token, "header")
