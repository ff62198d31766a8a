"""From a token to an identity."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.endings import ToClose
from app.auth.sessions import Sessions
from app.auth.tokens import Identity, new_token
from app.base.errors import Problem
from app.storage.endings import SessionEnding
from app.storage.sessions import TokenOwner, token_owners
from tests.auth.house import DAY, JWT_SETTINGS, NOON, Build, House, closed, statements


async def refused(sessions: Sessions, token: str) -> None:
    with pytest.raises(Problem) as caught:
        await sessions.resolve(token, "header")
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")


async def test_a_token_is_its_user_on_its_device(house: House) -> None:
    user = await house.user("Ada", roles=("admin",))
    signed_in = await house.sign_in()
    assert signed_in.device is not None
    identity = await house.sessions.resolve(signed_in.token, "cookie")
    assert identity == Identity(
        user_id=user.id,
        handle="Ada",
        roles=("admin",),
        device_id=signed_in.device.id,
        session_id=signed_in.session_id,
        expires_at=NOON + 365 * DAY,
        via="cookie",
    )
    assert (identity.permissions, identity.is_admin) == (["admin"], True)


async def test_a_token_seen_before_costs_no_select(house: House) -> None:
    await house.user()
    token = (await house.sign_in()).token
    with statements(house.database) as asked:
        await house.sessions.resolve(token, "header")
        assert asked.count("SELECT") == 1
        await house.sessions.resolve(token, "cookie")
        assert house.sessions.cached(token, "header") is not None
    assert asked.count("SELECT") == 1


async def test_each_use_keeps_the_way_its_token_came(house: House) -> None:
    await house.user()
    token = (await house.sign_in()).token
    vias = [(await house.sessions.resolve(token, via)).via for via in ("header", "cookie")]
    assert vias == ["header", "cookie"]


async def test_memory_does_not_know_an_unseen_token(house: House) -> None:
    await house.user()
    token = (await house.sign_in()).token
    assert house.sessions.cached(token, "header") is None


async def test_many_unseen_tokens_at_once_are_one_select(house: House) -> None:
    await house.user()
    tokens = [(await house.sign_in(uuid=f"device-{number:04}")).token for number in range(5)]
    with statements(house.database) as asked:
        identities = await asyncio.gather(
            *(house.sessions.resolve(token, "header") for token in tokens)
        )
    assert asked.count("SELECT") == 1
    assert len({identity.device_id for identity in identities}) == 5


async def test_a_dead_token_again_costs_no_select_and_no_log_line(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "app")
    token = new_token()
    await refused(house.sessions, token)
    assert len(caplog.records) == 1
    assert token not in caplog.text
    with statements(house.database) as asked:
        for _ in range(3):
            await refused(house.sessions, token)
    assert asked.seen == []
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "token", ["", "x", "x" * 44, "x" * 100_000, "a.b.c", "\udcff" * 43, "." * 9000]
)
async def test_what_can_be_no_token_is_refused(house: House, token: str) -> None:
    await refused(house.sessions, token)
    assert house.sessions.cached(token, "header") is None


async def test_what_has_not_the_form_of_a_token_costs_no_select(build: Build) -> None:
    house = await build()
    with statements(house.database) as asked:
        for token in ("", "x", "x" * 44, "a.b.c", house.jwt()):
            await refused(house.sessions, token)
    assert asked.seen == []


async def test_a_session_used_keeps_sliding(build: Build) -> None:
    house = await build(session_idle_days=30)
    await house.user()
    token = (await house.sign_in()).token
    for _ in range(5):
        house.clock.advance(29 * DAY)
        await house.sessions.resolve(token, "header")


@pytest.mark.parametrize("seen_before", [True, False])
async def test_an_unused_session_idles_out(build: Build, seen_before: bool) -> None:
    house = await build(session_idle_days=30)
    await house.user()
    token = (await house.sign_in()).token
    if seen_before:
        await house.sessions.resolve(token, "header")
    house.clock.advance(30 * DAY)
    assert house.sessions.cached(token, "header") is None
    await refused(house.sessions, token)


async def test_a_live_socket_keeps_its_session_from_idling_out(build: Build) -> None:
    house = await build(session_idle_days=30)
    await house.user()
    token = (await house.sign_in()).token
    identity = await house.sessions.resolve(token, "header")
    house.clock.advance(29 * DAY)
    house.touch(identity)
    house.clock.advance(29 * DAY)
    assert house.sessions.cached(token, "header") is not None


async def test_the_slide_survives_a_restart(build: Build) -> None:
    house = await build(session_idle_days=30)
    await house.user()
    token = (await house.sign_in()).token
    identity = await house.sessions.resolve(token, "header")
    house.clock.advance(29 * DAY)
    house.touch(identity)
    await house.sessions.flush()
    house.clock.advance(29 * DAY)
    await house.restarted().resolve(token, "header")


@pytest.mark.parametrize("seen_before", [True, False])
async def test_a_session_ends_absolutely_however_used(build: Build, seen_before: bool) -> None:
    house = await build(session_idle_days=30, session_max_days=40)
    await house.user()
    token = (await house.sign_in()).token
    identity = await house.sessions.resolve(token, "header")
    assert identity.expires_at == NOON + 40 * DAY
    house.clock.advance(25 * DAY)
    await house.sessions.resolve(token, "header")
    await house.sessions.flush()
    house.clock.advance(15 * DAY)
    assert not house.sessions.holds(identity)
    await refused(house.sessions if seen_before else house.restarted(), token)


async def test_a_flush_writes_all_uses_in_one_transaction(house: House) -> None:
    await house.user()
    tokens = [(await house.sign_in(uuid=f"device-{number:04}")).token for number in range(3)]
    for token in tokens:
        await house.sessions.resolve(token, "header")
    house.clock.advance(60)
    identity = house.sessions.cached(tokens[2], "header")
    assert identity is not None
    with statements(house.database) as asked:
        await house.sessions.flush()
        await house.sessions.flush()
    assert (asked.count("BEGIN"), asked.count("COMMIT"), asked.count("UPDATE")) == (1, 1, 2)
    device = await house.accounts.get_device(identity.device_id or 0)
    sessions = await house.accounts.list_sessions(identity.user_id)
    assert device.last_seen == int((NOON + 60) * 1000)
    assert [session.last_used - int(NOON * 1000) for session in sessions] == [0, 0, 60_000]


async def test_sessions_that_time_has_ended_are_swept_out_of_the_database(build: Build) -> None:
    house = await build(session_idle_days=30)
    await house.user()
    await house.sign_in()
    house.clock.advance(31 * DAY)
    await house.sessions.flush()
    async with house.database.read() as connection:
        left = await connection.exec_driver_sql("SELECT count(*) FROM sessions")
        assert left.scalar_one() == 0


async def test_what_ends_while_it_loads_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.user()
    signed_in = await house.sign_in()
    answers: list[int] = []

    async def slow(connection: AsyncConnection, keys: Sequence[bytes]) -> dict[bytes, TokenOwner]:
        found = await token_owners(connection, keys)
        answers.append(len(found))
        if len(answers) == 1:
            # The answer is on its way when the session is taken away.
            await house.accounts.revoke_token(signed_in.session_id)
        return found

    monkeypatch.setattr("app.auth.sessions.token_owners", slow)
    await refused(house.sessions, signed_in.token)
    assert answers == [1, 0]


async def test_what_ends_between_its_load_and_its_answer_is_refused(house: House) -> None:
    await house.user()
    signed_in = await house.sign_in()

    async def end_at_once() -> None:
        identity = await house.sessions.resolve(signed_in.token, "header")
        ending = SessionEnding(user_id=identity.user_id, session_id=signed_in.session_id)
        house.sessions.end([ending])

    # Both wait for one load: the first to get its answer ends the session before the second does.
    await asyncio.gather(end_at_once(), refused(house.sessions, signed_in.token))


async def test_a_small_cache_forgets_and_asks_again(house: House) -> None:
    await house.user()
    sessions = Sessions(house.database, house.settings, None, house.clock, cached_tokens=1)
    tokens = [(await house.sign_in(uuid=f"device-{number:04}")).token for number in range(3)]
    identities = [await sessions.resolve(token, "header") for token in tokens]
    assert sessions.cached(tokens[0], "header") is None
    assert await sessions.resolve(tokens[0], "header") == identities[0]
    assert all(sessions.holds(identity) for identity in identities)


async def test_a_token_shows_in_no_repr(house: House) -> None:
    await house.user()
    signed_in = await house.sign_in()
    identity = await house.sessions.resolve(signed_in.token, "header")
    assert signed_in.token not in f"{signed_in!r} {identity!r} {house.sessions!r}"
    assert "argon2" not in repr(signed_in)


# JWTs


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
