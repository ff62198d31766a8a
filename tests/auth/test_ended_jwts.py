"""Signing out a JWT that names no device: nothing but its own hash can refuse it."""

import asyncio

import pytest
from sqlalchemy import func, select

from app.storage.schema import ended_jwts
from tests.auth.house import NOON, House, closed, dead, refused, statements


async def rows(house: House) -> int:
    async with house.database.lookup() as connection:
        query = select(func.count()).select_from(ended_jwts)
        return int((await connection.execute(query)).scalar_one())


async def sign_out(house: House, token: str) -> None:
    identity = await house.sessions.resolve(token, "header")
    assert closed(await house.accounts.sign_out(identity)) == []
    assert not house.sessions.holds(identity)


def respelled(token: str) -> str:
    """Return the same token as another text: with the padding that JWTs leave out."""
    return f"{token}="


async def test_it_is_refused_from_then_on_also_after_a_restart(house: House) -> None:
    token = house.jwt(device_id=None)
    await sign_out(house, token)
    assert await dead(house, token)


async def test_no_other_token_of_the_user_is(house: House) -> None:
    others = [house.jwt(device_id=None, jti="2"), house.jwt()]
    for other in others:
        await house.sessions.resolve(other, "header")
    await sign_out(house, house.jwt(device_id=None, jti="1"))
    for other in others:
        assert not await dead(house, other)


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "seen before"])
async def test_another_spelling_of_it_is_refused_too(house: House, known: bool) -> None:
    token = house.jwt(device_id=None)
    other = respelled(token)
    if known:
        await house.sessions.resolve(other, "header")
    await sign_out(house, token)
    assert await dead(house, other)


async def test_a_request_under_way_meanwhile_does_not_bring_it_back(house: House) -> None:
    token = house.jwt(device_id=None)
    identity = await house.sessions.resolve(token, "header")
    other = house.restarted()
    await asyncio.gather(
        house.accounts.sign_out(identity),
        house.sessions.resolve(respelled(token), "header"),
        other.resolve(token, "header"),
        return_exceptions=True,
    )
    assert await dead(house, token)
    assert await dead(house, respelled(token))


async def test_enabling_its_user_does_not_bring_it_back(house: House) -> None:
    token = house.jwt(device_id=None)
    identity = await house.sessions.resolve(token, "header")
    await sign_out(house, token)
    await house.accounts.disable_user(identity.user_id)
    await house.accounts.enable_user(identity.user_id)
    assert await dead(house, token)


async def test_it_is_forgotten_after_its_exp_and_not_before(house: House) -> None:
    token = house.jwt(device_id=None, exp=NOON + 7200.5)
    await sign_out(house, token)
    for seconds, kept in ((7200, 1), (0.5, 1), (3600, 0)):
        house.clock.advance(seconds)
        await house.cleaner.purge()
        assert await rows(house) == kept
        assert seconds == 7200 or await dead(house, token)
    await refused(house.restarted(), token)


async def test_a_jwt_with_a_device_asks_for_no_hash(house: House) -> None:
    await house.sessions.resolve(house.jwt(), "header")
    with statements(house.database) as asked:
        await house.restarted().resolve(house.jwt(), "header")
    assert not [statement for statement in asked.seen if "ENDED_JWTS" in statement]
