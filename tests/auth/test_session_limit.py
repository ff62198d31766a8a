"""The sessions of a user: at most so many, of which the least recently used goes."""

from functools import partial

import pytest
from sqlalchemy import Connection

from app.auth.accounts import SignedIn
from tests.auth.house import DAY, JWT_SETTINGS, NOON, Build, House, closed, dead

MANY = 1200
"""More sessions than a few steps of removing end."""


async def issued(house: House, count: int) -> list[SignedIn]:
    """Return so many sessions of ada, who is made, a minute apart."""
    user = await house.user()
    found = []
    for _ in range(count):
        found.append(await house.accounts.issue_token(user.id, None, "web"))
        house.clock.advance(60)
    return found


async def listed(house: House, user_id: int) -> list[int]:
    return [one.id for one in await house.accounts.list_sessions(user_id)]


async def count(house: House) -> int:
    async with house.database.lookup() as connection:
        found = await connection.exec_driver_sql("SELECT count(*) FROM sessions")
        return int(found.scalar_one())


async def fill(house: House, user_id: int, sessions: int, *, device_id: int | None = None) -> None:
    """Give the user sessions as a version without a limit would have: those of before noon."""

    def insert(connection: Connection) -> None:
        connection.exec_driver_sql(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO sessions"
            " (user_id, device_id, token_hash, created_at, last_used, expires_at)"
            " SELECT ?, ?, randomblob(32), 0, ? - i, ? FROM n",
            (sessions, user_id, device_id, int(NOON * 1000), int((NOON + DAY) * 1000)),
        )

    await house.database.transact(insert)


@pytest.mark.parametrize("by", ["sign-in", "token"])
async def test_one_more_ends_the_session_least_recently_used(build: Build, by: str) -> None:
    house = await build(max_sessions_per_user=3)
    first, second, third = await issued(house, 3)
    # Used since, which only memory knows yet.
    await house.sessions.resolve(first.token, "header")
    identity = await house.sessions.resolve(second.token, "header")
    house.clock.advance(60)
    for one in (first, third):
        await house.sessions.resolve(one.token, "header")
    new = (
        await house.sign_in()
        if by == "sign-in"
        else await house.accounts.issue_token(first.user.id, None, "web")
    )
    which = {"user_id": first.user.id, "session_id": second.session_id}
    assert closed(new.ended) == [(which, 4502, "revoked")]
    assert not house.sessions.holds(identity)
    assert [await dead(house, one.token) for one in (first, second, third, new)] == [
        False,
        True,
        False,
        False,
    ]


async def test_one_without_a_connection_goes_before_one_that_has_one(build: Build) -> None:
    house = await build(max_sessions_per_user=2)
    connected, away = await issued(house, 2)
    house.sessions.session_limit.connected = lambda _user_id: {connected.session_id}
    new = await house.accounts.issue_token(away.user.id, None, "web")
    assert [selector.session_id for selector, _ in new.ended] == [away.session_id]


async def test_a_connected_one_goes_if_all_others_have_gone_never_the_new_one(build: Build) -> None:
    house = await build(max_sessions_per_user=1)
    [connected] = await issued(house, 1)
    house.clock.advance(-DAY)
    house.sessions.session_limit.connected = lambda _user_id: {connected.session_id}
    new = await house.accounts.issue_token(connected.user.id, None, "web")
    assert [selector.session_id for selector, _ in new.ended] == [connected.session_id]
    assert not await dead(house, new.token)


async def test_of_those_used_at_the_same_time_the_first_goes(build: Build) -> None:
    house = await build(max_sessions_per_user=2)
    user = await house.user()
    first, second, third = [
        await house.accounts.issue_token(user.id, None, "web") for _ in range(3)
    ]
    assert await listed(house, user.id) == [second.session_id, third.session_id]
    assert [selector.session_id for selector, _ in third.ended] == [first.session_id]


async def test_zero_is_no_limit(build: Build) -> None:
    house = await build(max_sessions_per_user=0)
    sessions = await issued(house, 5)
    assert len(await listed(house, sessions[0].user.id)) == 5


async def test_the_limit_counts_each_user_alone(build: Build) -> None:
    house = await build(max_sessions_per_user=1)
    [one] = await issued(house, 1)
    other = await house.user("bea")
    await house.accounts.issue_token(other.id, None, "web")
    assert not await dead(house, one.token)


@pytest.mark.parametrize("what", ["password", "device"])
async def test_sessions_that_are_over_and_still_have_rows_do_not_count(
    build: Build, what: str
) -> None:
    house = await build(max_sessions_per_user=2)
    user = await house.user()
    kept = await house.accounts.issue_token(user.id, "device-0001", "web")
    house.clock.advance(60)
    gone = await house.accounts.issue_token(user.id, "device-0002", "web")
    if what == "password":
        identity = await house.sessions.resolve(kept.token, "header")
        await house.accounts.change_password(identity, "correct horse battery", "battery horse")
    elif gone.device is not None:
        await house.accounts.revoke_device(gone.device.id)
    assert await count(house) == 2
    new = await house.accounts.issue_token(user.id, None, "web")
    assert new.ended == []
    assert await listed(house, user.id) == [kept.session_id, new.session_id]


async def test_a_user_who_had_many_more_comes_down_to_the_limit_in_steps(build: Build) -> None:
    house = await build(max_sessions_per_user=100)
    user, other = await house.user(), await house.user("bea")
    await fill(house, user.id, MANY)
    await fill(house, other.id, 100)
    ended: list[int] = []
    house.sessions.on_ended = lambda to_close: ended.extend(
        selector.session_id or 0 for selector, _ in to_close
    )
    await house.cleaner.find_above()
    first = await house.cleaner.step()
    assert first is not None
    assert 0 < first < MANY / 4
    await house.cleaner.clean()
    # Those used last were made first.
    assert await listed(house, user.id) == list(range(1, 101))
    assert sorted(ended) == list(range(101, MANY + 1))
    assert len(await listed(house, other.id)) == 100


async def test_a_sign_in_of_such_a_user_ends_some_and_leaves_others_to_be_ended(
    build: Build,
) -> None:
    house = await build(max_sessions_per_user=100)
    user = await house.user()
    await fill(house, user.id, MANY)
    new = await house.sign_in()
    assert 0 < len(new.ended) < MANY / 4
    await house.cleaner.clean()
    assert await count(house) == 100
    assert new.session_id in await listed(house, user.id)
    assert not await dead(house, new.token)


async def test_no_more_sessions_are_listed_than_people_read(build: Build) -> None:
    house = await build(max_sessions_per_user=0)
    user = await house.user()
    await fill(house, user.id, MANY)
    assert await listed(house, user.id) == list(range(MANY - 999, MANY + 1))


async def test_a_user_presenting_thousands_of_jwts_keeps_few_of_them_in_memory(
    build: Build,
) -> None:
    house = await build(**JWT_SETTINGS)
    tokens = [house.jwt(jti=str(number)) for number in range(1100)]
    for token in tokens:
        await house.sessions.resolve(token, "header")
    in_memory = partial(house.sessions.cached, via="header")
    assert in_memory(tokens[0]) is None
    assert in_memory(tokens[-1]) is not None
    # It holds all the same.
    await house.sessions.resolve(tokens[0], "header")
