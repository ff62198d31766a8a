"""Users and devices that JWTs make, and what ends those JWTs."""

import asyncio
import logging

import pytest

from app.auth.endings import ToClose
from tests.auth.house import JWT_SETTINGS, NOON, Build, House, closed, refused, statements


async def test_the_first_use_of_a_jwt_makes_user_and_device(house: House) -> None:
    token = house.jwt(device_type="ios", device_name="Phone")
    identity = await house.sessions.resolve(token, "header")
    assert (identity.handle, identity.session_id, identity.roles) == ("customer-7", None, ())
    assert identity.expires_at == NOON + 3600
    [device] = await house.accounts.list_devices(identity.user_id)
    assert (device.id, device.device_uuid) == (identity.device_id, "outside-0001")
    assert (device.device_type, device.device_name) == ("ios", "Phone")


async def test_another_jwt_of_the_same_device_makes_nothing(house: House) -> None:
    first = await house.sessions.resolve(house.jwt(), "header")
    house.clock.advance(10)
    second = await house.restarted().resolve(house.jwt(), "header")
    assert (first.user_id, first.device_id) == (second.user_id, second.device_id)


async def test_a_jwt_seen_before_costs_no_statement(house: House) -> None:
    token = house.jwt()
    await house.sessions.resolve(token, "header")
    with statements(house.database) as asked:
        await house.sessions.resolve(token, "header")
    assert asked.seen == []


async def test_first_uses_at_once_make_one_user_and_one_device(house: House) -> None:
    tokens = [house.jwt(jti=str(number)) for number in range(5)]
    found = await asyncio.gather(*(house.sessions.resolve(token, "header") for token in tokens))
    assert len({(identity.user_id, identity.device_id) for identity in found}) == 1
    assert len(await house.accounts.list_users()) == 1


async def test_the_log_names_once_what_is_wrong_with_a_jwt(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for token in (house.jwt(iss="https://evil.example"), house.jwt(nbf=house.clock() + 60)):
        for _ in range(2):
            await refused(house.sessions, token)
    reasons = [getattr(record, "fields", {}).get("reason") for record in caplog.records]
    assert reasons == ["iss", "nbf is in the future", "nbf is in the future"]
    assert "evil" not in caplog.text


async def test_a_jwt_without_a_device_is_an_identity_without_one(house: House) -> None:
    identity = await house.sessions.resolve(house.jwt(device_id=None), "header")
    assert identity.device_id is None
    assert await house.accounts.list_devices() == []


async def test_a_subject_is_never_matched_to_a_local_handle(house: House) -> None:
    local = await house.user("ada", roles=("admin",))
    identity = await house.sessions.resolve(house.jwt(sub="ada"), "header")
    assert identity.user_id != local.id
    assert not identity.is_admin
    assert (await house.accounts.find_user("ada")).id == local.id


async def test_a_jwt_ends_at_exp_also_when_seen_before(house: House) -> None:
    token = house.jwt()
    identity = await house.sessions.resolve(token, "header")
    house.clock.advance(3600)
    assert house.sessions.cached(token, "header") is None
    assert not house.sessions.holds(identity)
    await refused(house.sessions, token)


async def test_a_jwt_that_is_not_valid_yet_becomes_valid(house: House) -> None:
    token = house.jwt(nbf=NOON + 60)
    await refused(house.sessions, token)
    house.clock.advance(60)
    await house.sessions.resolve(token, "header")


async def test_a_jwt_of_another_key_is_refused_without_a_statement(house: House) -> None:
    token = house.jwt()[:-4] + "AAAA"
    with statements(house.database) as asked:
        await refused(house.sessions, token)
    assert asked.seen == []


async def test_at_the_device_limit_a_jwts_first_use_prunes_and_tells(build: Build) -> None:
    house = await build(**JWT_SETTINGS, max_devices_per_user=2)
    told: list[ToClose] = []
    house.sessions.on_ended = told.append
    tokens, found = [], []
    for number in range(3):
        tokens.append(house.jwt(device_id=f"outside-{number:04}"))
        found.append(await house.sessions.resolve(tokens[-1], "header"))
        house.clock.advance(1)
    first = found[0]
    assert [closed(ended) for ended in told] == [
        [({"user_id": first.user_id, "device_id": first.device_id}, 4502, "revoked")]
    ]
    assert [house.sessions.holds(identity) for identity in found] == [False, True, True]
    await refused(house.sessions, tokens[0])
    await refused(house.restarted(), tokens[0])


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_jwt_issued_at_or_before_the_revocation_of_its_device_is_refused(
    house: House, restarted: bool
) -> None:
    token = house.jwt()
    identity = await house.sessions.resolve(token, "header")
    house.clock.advance(10)
    same_instant = house.jwt()
    await house.accounts.revoke_device(identity.device_id or 0)
    sessions = house.restarted() if restarted else house.sessions
    assert not house.sessions.holds(identity)
    await refused(sessions, token)
    await refused(sessions, same_instant)

    house.clock.advance(0.01)
    again = await sessions.resolve(house.jwt(), "header")
    assert again.user_id == identity.user_id
    assert again.device_id not in (None, identity.device_id)


async def test_a_jwt_known_from_a_clock_ahead_ends_with_its_device(house: House) -> None:
    token = house.jwt(iat=NOON + 20)
    identity = await house.sessions.resolve(token, "header")
    await house.accounts.revoke_device(identity.device_id or 0)
    await refused(house.sessions, token)
    await refused(house.restarted(), token)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_jwt_of_a_disabled_user_is_refused_until_enabled_and_old_ones_for_ever(
    house: House, restarted: bool
) -> None:
    old = house.jwt()
    identity = await house.sessions.resolve(old, "header")
    await house.accounts.disable_user(identity.user_id)
    house.clock.advance(1)
    new = house.jwt()
    sessions = house.restarted() if restarted else house.sessions
    await refused(sessions, old)
    await refused(sessions, new)
    with statements(house.database) as asked:
        await refused(sessions, new)
    assert asked.seen == []

    await house.accounts.enable_user(identity.user_id)
    sessions = house.restarted() if restarted else house.sessions
    await refused(sessions, old)
    assert (await sessions.resolve(new, "header")).user_id == identity.user_id


async def test_a_deleted_outside_users_old_tokens_stay_dead(house: House) -> None:
    token = house.jwt()
    first = await house.sessions.resolve(token, "header")
    await house.accounts.delete_user(first.user_id)
    await refused(house.restarted(), token)
    house.clock.advance(1)
    second = await house.restarted().resolve(house.jwt(), "header")
    assert second.user_id != first.user_id


async def test_signing_out_a_jwt_ends_the_tokens_of_its_device_alone(house: House) -> None:
    here, there = house.jwt(), house.jwt(device_id="outside-0002")
    identity = await house.sessions.resolve(here, "header")
    other = await house.sessions.resolve(there, "header")
    ended = await house.accounts.sign_out(identity)
    assert closed(ended) == [
        ({"user_id": identity.user_id, "device_id": identity.device_id}, 1000, "signed_out")
    ]
    await refused(house.sessions, here)
    await refused(house.restarted(), here)
    assert house.sessions.holds(other)
    house.clock.advance(1)
    assert (await house.sessions.resolve(house.jwt(), "header")).device_id == identity.device_id
