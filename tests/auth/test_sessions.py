"""From a token to an identity."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from app.auth.sessions import Sessions
from app.auth.tokens import Identity, new_token
from app.storage.endings import SessionEnding
from app.storage.sessions import TokenOwner, token_owners
from tests.auth.house import DAY, NOON, Build, House, refused, statements


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
    await house.cleaner.purge()
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
