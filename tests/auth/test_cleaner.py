"""What has ended is over at once; its rows go in steps, through any crash."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth.accounts import Accounts, SignedIn
from app.auth.cleaner import Cleaner
from app.auth.limiter import FailureLimiter
from app.auth.passwords import Passwords
from app.auth.sessions import Sessions
from app.base.counts import Removals
from app.base.errors import Problem
from app.streams.base import Append, Appended, Refused
from app.streams.generation import GUARD_NAME
from app.streams.sql import SqlStreamLog, StreamLimits
from tests.auth.house import DAY, JWT_SETTINGS, NOON, Build, House, dead, open_house, refused
from tests.auth.test_session_limit import count, fill, listed
from tests.effort import examples

NEW_PASSWORD = "battery staple horse"
OLD_PASSWORD = "correct horse battery"


async def rows(house: House, table: str, where: str = "1") -> int:
    """Return how many rows of the table fit the condition."""
    async with house.database.lookup() as connection:
        query = f"SELECT count(*) FROM {table} WHERE {where}"
        return int((await connection.exec_driver_sql(query)).scalar_one())


async def write(house: House, statement: str, *values: Any) -> None:
    async with house.database.write() as connection:
        await connection.exec_driver_sql(statement, values)


def many_steps(house: House) -> Cleaner:
    """Return a cleaner whose steps remove two rows."""
    return Cleaner(
        house.database, house.settings, house.sessions, house.clock, pause=0, step_rows=2
    )


# What ends


async def change_password(house: House, keeper: SignedIn) -> object:
    identity = await house.sessions.resolve(keeper.token, "header")
    return await house.accounts.change_password(identity, OLD_PASSWORD, NEW_PASSWORD)


async def set_password(house: House, keeper: SignedIn) -> object:
    return await house.accounts.set_password(keeper.user.id, NEW_PASSWORD)


async def disable(house: House, keeper: SignedIn) -> object:
    return await house.accounts.disable_user(keeper.user.id)


async def delete(house: House, keeper: SignedIn) -> object:
    return await house.accounts.delete_user(keeper.user.id)


async def revoke_others(house: House, keeper: SignedIn) -> object:
    identity = await house.sessions.resolve(keeper.token, "header")
    return await house.accounts.revoke_other_devices(identity)


Ending = Callable[[House, SignedIn], Awaitable[object]]
ENDINGS: dict[str, Ending] = {
    one.__name__: one for one in (change_password, set_password, disable, delete, revoke_others)
}
KEEPS = {"change_password", "revoke_others"}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_what_ends_is_over_before_its_rows_are_gone(house: House, ending: str) -> None:
    await house.user()
    await house.user("bea")
    keeper = await house.sign_in()
    others = [await house.sign_in(uuid=f"device-000{number}") for number in range(2, 6)]
    stranger = await house.sign_in("bea", uuid="device-0009")
    identities = [await house.sessions.resolve(one.token, "header") for one in others]
    await ENDINGS[ending](house, keeper)
    assert await count(house) == 6
    cleaner = many_steps(house)
    while True:
        assert not any(map(house.sessions.holds, identities))
        assert all([await dead(house, one.token) for one in others])
        assert await dead(house, keeper.token) is (ending not in KEEPS)
        assert not await dead(house, stranger.token)
        if await cleaner.step() is None:
            break
    assert await count(house) == 1 + (ending in KEEPS)


@pytest.mark.parametrize("ending", ENDINGS)
async def test_no_step_removes_more_rows_than_it_may(house: House, ending: str) -> None:
    await house.user()
    keeper = await house.sign_in()
    for number in range(2, 7):
        await house.sign_in(uuid=f"device-000{number}")
    await ENDINGS[ending](house, keeper)
    cleaner, before = many_steps(house), await count(house)
    while await cleaner.step() is not None:
        now = await count(house)
        assert before - now <= 2
        before = now


async def test_a_kept_session_that_signs_out_later_is_over(house: House) -> None:
    await house.user()
    keeper = await house.sign_in()
    await change_password(house, keeper)
    identity = await house.sessions.resolve(keeper.token, "header")
    await house.accounts.sign_out(identity)
    assert not house.sessions.holds(identity)
    assert await dead(house, keeper.token)


async def test_a_session_begun_after_the_end_of_all_others_holds(house: House) -> None:
    await house.user()
    keeper = await house.sign_in()
    await house.accounts.disable_user(keeper.user.id)
    await house.accounts.enable_user(keeper.user.id)
    again = await house.sign_in()
    identity = await house.sessions.resolve(again.token, "header")
    await house.cleaner.clean()
    assert house.sessions.holds(identity)
    assert not await dead(house, again.token)
    assert await dead(house, keeper.token)


async def test_a_session_that_is_over_is_not_listed_and_cannot_be_revoked(house: House) -> None:
    await house.user()
    keeper, other = await house.sign_in(), await house.sign_in(uuid="device-0002")
    await change_password(house, keeper)
    assert await listed(house, keeper.user.id) == [keeper.session_id]
    for named in (other.session_id, other.token):
        with pytest.raises(Problem) as caught:
            await house.accounts.revoke_token(named)
        assert caught.value.code == "session_not_found"


async def test_a_password_change_writes_no_more_for_a_user_with_more_sessions(
    build: Build,
) -> None:
    house = await build(max_sessions_per_user=0)
    user = await house.user()
    await fill(house, user.id, 5000)
    ended = await house.accounts.set_password(user.id, NEW_PASSWORD)
    # One selector for all, and every row is still there.
    assert len(ended) == 1
    assert await count(house) == 5000
    await house.cleaner.clean()
    assert await count(house) == 0


async def test_cleaning_goes_on_by_itself_and_after_an_ending(house: House) -> None:
    await house.user()
    signed_in = await house.sign_in()
    house.sessions.on_left_over = house.cleaner.wake
    running = asyncio.create_task(house.cleaner.run())
    await house.accounts.set_password(signed_in.user.id, NEW_PASSWORD)
    while await count(house) or await rows(house, "leftovers"):
        pass
    running.cancel()
    await asyncio.wait([running])


async def test_a_deleted_users_rows_go_from_every_table(house: House) -> None:
    await house.user()
    signed_in, other = await house.sign_in(), await house.user("bea")
    for user_id in (signed_in.user.id, other.id):
        for number in range(7):
            await write(
                house,
                "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, 'a', ?, 1)",
                user_id,
                bytes(number),
            )
        await write(house, 'INSERT INTO damaged_messages ("offset", user_id, found_at)'
                    " VALUES (?, ?, 1)", user_id, user_id)  # fmt: skip
        await write(house, "INSERT INTO cursors VALUES (?, ?, 'e', 1, 1)", user_id, user_id)
        await write(house, "INSERT INTO floors VALUES (?, 1)", user_id)
    await house.accounts.delete_user(signed_in.user.id)
    cleaner = many_steps(house)
    while await cleaner.step() is not None:
        pass
    for table in ("messages", "damaged_messages", "cursors", "floors", "sessions"):
        assert await rows(house, table, f"user_id = {signed_in.user.id}") == 0, table
    kept = [await rows(house, table, f"user_id = {other.id}") for table in TABLES]
    assert kept == [7, 1, 1, 1]


TABLES = ("messages", "damaged_messages", "cursors", "floors")


async def test_a_step_removes_few_messages_if_they_are_large(house: House) -> None:
    user = await house.user()
    for _ in range(40):
        await write(
            house,
            "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, 'a', ?, 1)",
            user.id,
            bytes(100_000),
        )
    await house.accounts.delete_user(user.id)
    removed = await house.cleaner.step()
    assert removed is not None
    assert 0 < removed <= 12
    await house.cleaner.clean()
    assert await rows(house, "messages") == 0


# Values for a device

VALUE = Append(1, "plan.state", b"1", key="k", target_device=1)


@pytest.fixture
async def log(house: House) -> AsyncIterator[SqlStreamLog]:
    """The messages of the house, of which each user may have two values."""
    limits = StreamLimits(retention_days=30, retention_rows=100, max_keys_per_user=2)
    guard = house.settings.data_dir / GUARD_NAME
    opened = await SqlStreamLog.open(house.database, guard, limits, house.clock)
    yield opened
    await opened.close()


async def two_devices(house: House) -> tuple[int, int, int]:
    """Return ada's number, and those of two devices."""
    user = await house.user()
    found = [(await house.sign_in(uuid=f"device-{one:04}")).device for one in range(2)]
    first, second = (device.id for device in found if device is not None)
    return user.id, first, second


async def test_values_for_a_removed_device_make_room_for_others(
    house: House, log: SqlStreamLog
) -> None:
    user, gone, kept = await two_devices(house)
    one = replace(VALUE, user_id=user, target_device=gone)
    await log.append([one, replace(one, key="l")])
    new = replace(one, key="m", target_device=kept)
    assert await log.append([new]) == [Refused("too_many_keys")]
    await house.accounts.revoke_device(gone)
    await many_steps(house).clean()
    [stored] = await log.append([new])
    assert isinstance(stored, Appended)
    assert await rows(house, "leftovers") == 0


async def test_what_others_get_too_and_what_goes_by_itself_outlives_a_removed_device(
    house: House, log: SqlStreamLog
) -> None:
    user, gone, kept = await two_devices(house)
    other = await house.user("bea")
    one = replace(VALUE, user_id=user, target_device=gone)
    await log.append(
        [
            one,
            replace(one, key="l", deleted=True),
            replace(one, target_device=kept),
            replace(one, key="d", target_device=0, without_device=gone, source_device=gone),
            replace(one, key=None),
            # Nobody has sent that; the number of the device is another user's.
            replace(one, user_id=other.id),
        ]
    )
    await house.accounts.revoke_device(gone)
    await many_steps(house).clean()
    assert await rows(house, "messages", '"offset" <= 2') == 0
    assert await rows(house, "messages") == 4
    # Compaction moves no floor: everybody else is owed what they were.
    [standing] = await log.standings([(user, kept)])
    assert standing.floor == 0


async def test_a_step_removes_few_values_if_they_are_large(house: House, log: SqlStreamLog) -> None:
    user, gone, _ = await two_devices(house)
    large = replace(VALUE, user_id=user, target_device=gone, payload=b'"%b"' % (b"x" * 700_000))
    await log.append([large, replace(large, key="l")])
    await house.accounts.revoke_device(gone)
    assert [await house.cleaner.step() for _ in range(3)] == [1, 1, 1]
    assert await rows(house, "messages") == 0


async def test_a_start_finds_values_for_devices_that_were_removed_before(
    house: House, log: SqlStreamLog
) -> None:
    user, gone, kept = await two_devices(house)
    await house.accounts.revoke_device(gone)
    await house.cleaner.clean()
    one = replace(VALUE, user_id=user, target_device=gone)
    await log.append([one, replace(one, target_device=kept)])
    running = asyncio.create_task(house.cleaner.run())
    while await rows(house, "messages", f"target_device = {gone}"):
        pass
    running.cancel()
    await asyncio.wait([running])
    assert await rows(house, "messages") == 1


# Tombstones

LIFE = 400 * DAY
"""What a JWT may live at most, by default; longer than messages are kept."""


async def test_a_removed_devices_row_goes_when_no_jwt_of_it_can_be_valid(house: House) -> None:
    old = house.jwt(exp=NOON + LIFE)
    identity = await house.sessions.resolve(old, "header")
    await house.accounts.revoke_device(identity.device_id or 0)
    await write(house, "INSERT INTO cursors VALUES (?, 1, 'e', 1, 1)", identity.device_id)
    house.clock.advance(LIFE - 1)
    await house.cleaner.purge()
    assert await rows(house, "devices") == 1
    assert await dead(house, old)
    house.clock.advance(2 * DAY)
    await house.cleaner.purge()
    assert (await rows(house, "devices"), await rows(house, "cursors")) == (0, 0)
    assert await dead(house, old)
    # The same device comes back as a new one, as it did before.
    again = await house.sessions.resolve(house.jwt(), "header")
    assert (again.device_id or 0) > (identity.device_id or 0)


async def test_a_deleted_users_row_goes_when_no_jwt_of_them_can_be_valid(house: House) -> None:
    old = house.jwt(exp=NOON + LIFE)
    identity = await house.sessions.resolve(old, "header")
    await house.accounts.delete_user(identity.user_id)
    await house.cleaner.clean()
    house.clock.advance(LIFE - 1)
    await house.cleaner.purge()
    assert await rows(house, "users") == 1
    await refused(house.restarted(), old)
    house.clock.advance(2 * DAY)
    # What came too late for the first removal.
    await write(
        house,
        "INSERT INTO messages (user_id, type, payload, created_at) VALUES (?, 'a', 'x', 1)",
        identity.user_id,
    )
    await house.cleaner.purge()
    await house.cleaner.clean()
    await house.cleaner.purge()
    assert [await rows(house, one) for one in ("users", "devices", "messages", "leftovers")] == [
        0,
        0,
        0,
        0,
    ]
    again = await house.sessions.resolve(house.jwt(), "header")
    assert again.user_id > identity.user_id


async def test_a_tombstone_stays_as_long_as_it_refuses_a_jwt_of_a_clock_that_is_ahead(
    house: House,
) -> None:
    house.clock.jumped = 3 * DAY
    ahead = house.jwt(iat=house.clock.stamp(), exp=house.clock.stamp() + LIFE)
    identity = await house.sessions.resolve(ahead, "header")
    house.clock.jumped = 0
    await house.accounts.revoke_device(identity.device_id or 0)
    house.clock.advance(LIFE + 2 * DAY)
    await house.cleaner.purge()
    assert await rows(house, "devices") == 1
    assert await dead(house, ahead)


async def test_a_clock_that_is_ahead_removes_no_tombstone(house: House) -> None:
    identity = await house.sessions.resolve(house.jwt(), "header")
    await house.accounts.revoke_device(identity.device_id or 0)
    house.clock.jumped = 2 * LIFE
    await house.cleaner.purge()
    assert await rows(house, "devices") == 1


async def test_a_long_retention_keeps_the_names_of_devices_in_old_messages(build: Build) -> None:
    house = await build(retention_days=1000)
    await house.user()
    signed_in = await house.sign_in()
    assert signed_in.device is not None
    await house.accounts.revoke_device(signed_in.device.id)
    house.clock.advance(LIFE + 2 * DAY)
    await house.cleaner.purge()
    assert await rows(house, "devices") == 1
    house.clock.advance(1002 * DAY)
    await house.cleaner.clean()
    await house.cleaner.purge()
    assert await rows(house, "devices") == 0


@pytest.mark.parametrize("column", ["expires_at", "last_used"])
async def test_sessions_past_their_end_go_in_steps(build: Build, column: str) -> None:
    house = await build(session_idle_days=30, max_sessions_per_user=0)
    user = await house.user()
    await fill(house, user.id, 7)
    await fill(house, (await house.user("bea")).id, 3)
    await write(house, "UPDATE sessions SET expires_at = ?, last_used = ?", 2**60, 2**60)
    await write(house, f"UPDATE sessions SET {column} = 1 WHERE user_id = ?", user.id)
    assert (await many_steps(house).purge()).total() == 7
    assert await count(house) == 3


# Any history


@dataclass
class Life:
    """A house that crashes now and then, and which sessions should hold."""

    house: House
    live: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """User and device of each token that should hold."""
    over: list[str] = field(default_factory=list)

    def restart(self) -> None:
        """Forget all but the database, as a crash does."""
        house, settings = self.house, self.house.settings
        sessions = Sessions(house.database, settings, None, house.clock)
        accounts = Accounts(
            house.database, settings, sessions, Passwords(1, 1), FailureLimiter(0, 1), house.clock
        )
        cleaner = Cleaner(house.database, settings, sessions, house.clock, pause=0, step_rows=2)
        self.house = House(house.database, settings, house.clock, sessions, accounts, cleaner)

    def end(self, is_over: Callable[[str, int, int | None], bool]) -> None:
        for token, (user_id, device_id) in list(self.live.items()):
            if is_over(token, user_id, device_id):
                del self.live[token]
                self.over.append(token)

    async def do(self, what: str, user_id: int, device: int) -> None:
        house = self.house
        house.clock.advance(1)
        uuid = f"device-000{device}"
        mine = [token for token, (owner, _) in self.live.items() if owner == user_id]
        match what:
            case "sign in":
                signed_in = await house.accounts.issue_token(user_id, uuid, "web")
                gone = {selector.session_id for selector, _ in signed_in.ended}
                assert not gone
                made = signed_in.device.id if signed_in.device else None
                self.live[signed_in.token] = (user_id, made)
            case "disable":
                await house.accounts.disable_user(user_id)
                await house.accounts.enable_user(user_id)
                self.end(lambda _token, owner, _device: owner == user_id)
            case "sign out" if mine:
                await house.accounts.revoke_token(mine[device % len(mine)])
                self.end(lambda token, *_: token == mine[device % len(mine)])
            case "revoke" if mine:
                _, which = self.live[mine[0]]
                await house.accounts.revoke_device(which or 0)
                self.end(lambda _token, _owner, one: one == which)
            case "revoke others" if mine:
                identity = await house.sessions.resolve(mine[-1], "header")
                await house.accounts.revoke_other_devices(identity)
                self.end(lambda _t, owner, one: owner == user_id and one != identity.device_id)
            case "step":
                await house.cleaner.step()
            case "crash":
                self.restart()

    async def check(self) -> None:
        """Check that exactly the sessions hold that should."""
        for sessions in (self.house.sessions, self.house.restarted()):
            for token in self.live:
                await sessions.resolve(token, "header")
            for token in self.over:
                await refused(sessions, token)


WHATS = ("sign in", "sign in", "disable", "sign out", "revoke", "revoke others", "step", "crash")
things = st.tuples(st.sampled_from(WHATS), st.integers(1, 2), st.integers(1, 4))


@given(history=st.lists(things, max_size=30))
@settings(max_examples=examples(60))
def test_whatever_ends_and_wherever_it_crashes_the_right_sessions_hold(
    history: list[tuple[str, int, int]],
) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with open_house(Path(folder), **JWT_SETTINGS) as house:
                await house.user()
                await house.user("bea")
                life = Life(house)
                life.restart()
                for what, user_id, device in history:
                    await life.do(what, user_id, device)
                    await life.check()
                await life.house.cleaner.clean()
                await life.check()
                assert await count(house) == len(life.live)
                assert await rows(house, "leftovers") == 0

    asyncio.run(live())


def removed(removals: Removals) -> dict[str, float]:
    """Return how many rows were removed, by kind, but for kinds without any."""
    rows, *_ = removals.collect()
    return {one.labels["kind"]: one.value for one in rows.samples if one.value}


async def test_what_is_removed_counts_by_its_kind(house: House) -> None:
    identity = await house.sessions.resolve(house.jwt(), "header")
    await house.accounts.revoke_device(identity.device_id or 0)
    user = await house.user()
    await fill(house, user.id, 3)
    await house.accounts.set_password(user.id, NEW_PASSWORD)
    removals = Removals()
    cleaner = Cleaner(
        house.database, house.settings, house.sessions, house.clock, removals=removals
    )
    await cleaner.clean()
    assert removed(removals) == {"sessions": 3}
    house.clock.advance(LIFE + 2 * DAY)
    await cleaner.purge()
    assert removed(removals) == {"sessions": 3, "devices": 1}
    await fill(house, user.id, 2)
    await house.accounts.delete_user(user.id)
    await cleaner.clean()
    assert removed(removals) == {"sessions": 3, "devices": 1, "of_deleted_users": 2}
