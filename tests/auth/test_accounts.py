"""Signing in and out, passwords and tokens."""

import asyncio
import logging

import pytest

from app.auth.accounts import SignIn
from app.auth.endings import ToClose
from app.auth.passwords import Passwords
from app.base.errors import Problem
from tests.auth.house import DAY, NOON, PASSWORD, Build, House, closed, dead, problem, statements

NEW_PASSWORD = "staple battery horse"
SLOW = 50_000
"""Passes over the memory of a password hash that takes a quarter of a second."""


# Sign-in


async def test_signing_in_gives_a_token_that_holds(house: House) -> None:
    user = await house.user("Ada")
    signed_in = await house.sign_in("aDa", device_name="Laptop", os_info="Debian")
    assert signed_in.user == user
    assert signed_in.device is not None
    assert (signed_in.device.device_name, signed_in.device.os_info) == ("Laptop", "Debian")
    assert signed_in.ended == []
    assert not await dead(house, signed_in.token)


async def test_a_wrong_password_an_unknown_user_and_no_handle_get_one_answer(house: House) -> None:
    await house.user()
    answers = []
    for handle, password in (("ada", "wrong"), ("nobody", PASSWORD), ("no body", PASSWORD)):
        with pytest.raises(Problem) as caught:
            await house.sign_in(handle, password=password)
        answers.append((caught.value.status, caught.value.code, caught.value.detail))
    assert set(answers) == {(401, "invalid_credentials", "The handle or the password is wrong.")}


async def test_a_wrong_password_and_an_unknown_user_cost_the_same_selects(house: House) -> None:
    await house.user()
    costs = []
    for handle in ("ada", "nobody"):
        with statements(house.database) as asked:
            assert (await problem(house.sign_in(handle, password="wrong")))[0] == 401
        costs.append(asked.seen)
    assert costs[0] == costs[1]


async def test_bad_device_fields_are_told_before_the_credentials_are_looked_at(
    house: House,
) -> None:
    with statements(house.database) as asked:
        assert await problem(house.sign_in("nobody", uuid="short")) == (400, "invalid_device")
    assert asked.seen == []


async def test_the_same_uuid_of_the_same_user_keeps_its_device_and_its_sessions(
    house: House,
) -> None:
    await house.user()
    first = await house.sign_in(device_name="Phone", os_info="14", device_type="ios")
    house.clock.advance(60)
    second = await house.sign_in(device_name=None, os_info="15", device_type="IOS")
    assert first.device is not None
    assert second.device is not None
    assert second.device.id == first.device.id
    assert (second.device.device_name, second.device.os_info) == ("Phone", "15")
    assert second.device.last_seen - first.device.last_seen == 60_000
    assert not await dead(house, first.token)


async def test_a_uuid_of_another_user_becomes_a_device_of_its_own(house: House) -> None:
    ada, bob = await house.user("ada"), await house.user("bob")
    of_ada = await house.sign_in("ada")
    of_bob = await house.sign_in("bob")
    assert of_ada.device is not None
    assert of_bob.device is not None
    assert of_bob.device.id != of_ada.device.id
    assert (of_ada.device.user_id, of_bob.device.user_id) == (ada.id, bob.id)
    identity = await house.sessions.resolve(of_ada.token, "header")
    assert (identity.user_id, identity.device_id) == (ada.id, of_ada.device.id)
    assert len(await house.accounts.list_devices(ada.id)) == 1


@pytest.mark.parametrize("name", ["x" * 99 + "é", "é" * 200, "👩‍👩‍👧" * 50])
async def test_a_long_name_of_many_bytes_is_cut_between_characters(house: House, name: str) -> None:
    await house.user()
    signed_in = await house.sign_in(device_name=name)
    assert signed_in.device is not None
    assert signed_in.device.device_name == name[:100]


async def test_sign_ins_of_a_new_device_at_once_make_one_device(house: House) -> None:
    await house.user()
    found = await asyncio.gather(*(house.sign_in() for _ in range(4)))
    assert len({signed_in.device for signed_in in found}) == 1
    assert len({signed_in.token for signed_in in found}) == 4


async def test_a_user_disabled_while_the_password_is_verified_gets_no_session(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await house.user()
    verify = Passwords.verify

    async def slow(passwords: Passwords, password_hash: str | None, password: str) -> bool:
        verified = await verify(passwords, password_hash, password)
        await house.accounts.disable_user(user.id)
        return verified

    monkeypatch.setattr(Passwords, "verify", slow)
    assert await problem(house.sign_in()) == (401, "invalid_credentials")
    assert await house.accounts.list_sessions(user.id) == []


async def test_a_password_is_in_no_log_and_no_repr(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await house.user()
    signed_in = await house.sign_in()
    await house.sessions.resolve(signed_in.token, "header")
    await problem(house.sign_in(password="a wrong password"))
    form = SignIn("ada", PASSWORD, "device-0001", "web")
    seen = caplog.text + repr(form) + repr(signed_in)
    for secret in (PASSWORD, "a wrong password", signed_in.token, "$argon2"):
        assert secret not in seen


# The limiter


async def wrong(house: House, handle: str, address: str) -> tuple[int, str]:
    form = SignIn(handle, "wrong", "device-of-a-stranger", "web")
    return await problem(house.accounts.sign_in(form, [address]))


async def test_an_account_must_wait_whatever_the_address(build: Build) -> None:
    house = await build(login_attempts=3, login_window_seconds=300)
    await house.user()
    answers = [await wrong(house, "aDa", f"192.0.2.{number}") for number in range(4)]
    assert answers == [(401, "invalid_credentials")] * 3 + [(429, "too_many_attempts")]
    assert await problem(house.sign_in()) == (429, "too_many_attempts")
    house.clock.advance(100)
    await house.sign_in()


async def test_an_address_must_wait_whatever_the_account(build: Build) -> None:
    house = await build(login_attempts=3, login_window_seconds=300)
    answers = [await wrong(house, f"user{number}", "192.0.2.1") for number in range(4)]
    assert answers == [(401, "invalid_credentials")] * 3 + [(429, "too_many_attempts")]


async def test_good_sign_ins_never_have_to_wait(build: Build) -> None:
    house = await build(login_attempts=2)
    await house.user()
    for _ in range(5):
        await house.sign_in()


async def test_tries_at_once_cannot_pass_together(build: Build) -> None:
    house = await build(login_attempts=3)
    await house.user()
    answers = await asyncio.gather(*(wrong(house, "ada", "192.0.2.1") for _ in range(10)))
    assert sorted(status for status, _ in answers) == [401] * 3 + [429] * 7


async def test_a_busy_server_is_no_failure_of_the_user(build: Build) -> None:
    house = await build(login_attempts=3, password_workers=1, password_queue=0)
    # It takes long to verify, so all ask before the first is done.
    await house.user(passes=SLOW)
    forms = [SignIn("ada", PASSWORD, "device-0001", "web") for _ in range(3)]
    answers = await asyncio.gather(
        *(house.accounts.sign_in(form, ["192.0.2.1"]) for form in forms), return_exceptions=True
    )
    busy = [answer for answer in answers if isinstance(answer, Problem)]
    assert {(answer.status, answer.code) for answer in busy} == {(503, "busy")}
    assert [await wrong(house, "ada", "192.0.2.1") for _ in range(3)] == [
        (401, "invalid_credentials")
    ] * 3


async def test_a_stranger_who_guesses_locks_out_no_device_of_the_owner(build: Build) -> None:
    house = await build(login_attempts=3)
    await house.user()
    signed_in = await house.sign_in(uuid="device-0001")
    for number in range(4):
        await wrong(house, "ada", f"198.51.100.{number}")
    assert (await wrong(house, "ada", "198.51.100.9"))[0] == 429
    # From another place, on the device that was there before.
    await house.sign_in(uuid="device-0001", address="203.0.113.9")
    # On a new device, from the place of before.
    await house.sign_in(uuid="device-0002")
    new_device = house.sign_in(uuid="device-0003", address="203.0.113.10")
    assert await problem(new_device) == (429, "too_many_attempts")
    identity = await house.sessions.resolve(signed_in.token, "header")
    await house.accounts.change_password(identity, PASSWORD, NEW_PASSWORD)


async def test_a_stranger_behind_the_owners_address_locks_out_no_device_of_the_owner(
    build: Build,
) -> None:
    house = await build(login_attempts=3)
    await house.user()
    await house.sign_in()
    answers = [await wrong(house, "ada", "192.0.2.1") for _ in range(8)]
    # As many for the account, and for the account at this address.
    assert [status for status, _ in answers] == [401] * 6 + [429] * 2
    await house.sign_in()


async def test_a_known_device_and_a_known_address_have_limits_too(build: Build) -> None:
    house = await build(login_attempts=3)
    await house.user()
    await house.sign_in()
    tries = [await problem(house.sign_in(password="wrong")) for _ in range(12)]
    assert [status for status, _ in tries] == [401] * 9 + [429] * 3


async def test_a_removed_device_is_a_strangers(build: Build) -> None:
    house = await build(login_attempts=3)
    await house.user()
    signed_in = await house.sign_in()
    assert signed_in.device is not None
    await house.accounts.revoke_device(signed_in.device.id)
    for number in range(3):
        await wrong(house, "ada", f"198.51.100.{number}")
    again = house.sign_in(uuid="device-0001", address="203.0.113.9")
    assert await problem(again) == (429, "too_many_attempts")


async def test_people_behind_one_address_wait_for_each_other_and_all_get_in(build: Build) -> None:
    house = await build(login_attempts=3, password_queue=100)
    handles = [f"user{number}" for number in range(14)]
    for handle in handles:
        await house.user(handle)
    await asyncio.gather(*(house.sign_in(handle, uuid=f"of-{handle}") for handle in handles))


async def test_a_wide_network_allows_more_than_a_narrow_one(build: Build) -> None:
    house = await build(login_attempts=2)
    for number in range(2 * 4 + 1):
        networks = [f"2001:db8:0:{number}::/64", "2001:db8::/56", "2001:db8::/48"]
        form = SignIn(f"nobody{number}", "wrong", "device-0001", "web")
        status, _ = await problem(house.accounts.sign_in(form, networks))
        assert status == (401 if number < 2 * 4 else 429)


async def test_a_dead_token_is_no_failed_sign_in(build: Build) -> None:
    house = await build(login_attempts=1)
    await house.user()
    for number in range(5):
        assert (await problem(house.sessions.resolve(f"{number}" * 43, "header")))[0] == 401
    await house.sign_in()


# Passwords


async def test_a_changed_password_ends_every_session_but_the_one_that_changed_it(
    house: House,
) -> None:
    user = await house.user()
    mine = await house.sign_in(uuid="device-0001")
    same_device = await house.sign_in(uuid="device-0001")
    other_device = await house.sign_in(uuid="device-0002")
    identity = await house.sessions.resolve(mine.token, "header")
    other = await house.sessions.resolve(other_device.token, "header")
    ended = await house.accounts.change_password(identity, PASSWORD, NEW_PASSWORD)
    assert closed(ended) == [
        ({"user_id": user.id, "except_session_id": mine.session_id}, 4502, "revoked")
    ]
    assert (house.sessions.holds(identity), house.sessions.holds(other)) == (True, False)
    tokens = (mine.token, same_device.token, other_device.token)
    assert [await dead(house, token) for token in tokens] == [False, True, True]
    assert await problem(house.sign_in()) == (401, "invalid_credentials")
    await house.sign_in(password=NEW_PASSWORD)


async def test_a_wrong_old_password_changes_nothing_and_is_no_lost_session(house: House) -> None:
    await house.user()
    signed_in = await house.sign_in()
    identity = await house.sessions.resolve(signed_in.token, "header")
    change = house.accounts.change_password(identity, "wrong", NEW_PASSWORD)
    assert await problem(change) == (400, "wrong_password")
    assert not await dead(house, signed_in.token)
    await house.sign_in()


async def test_guessing_the_old_password_is_limited_and_locks_nobody_else_out(build: Build) -> None:
    house = await build(login_attempts=3)
    await house.user()
    identity = await house.sessions.resolve((await house.sign_in()).token, "header")
    answers = [
        await problem(house.accounts.change_password(identity, "wrong", NEW_PASSWORD))
        for _ in range(4)
    ]
    assert answers == [(400, "wrong_password")] * 3 + [(429, "too_many_attempts")]
    await house.sign_in()


async def test_a_too_short_new_password_costs_no_failure(build: Build) -> None:
    house = await build(login_attempts=1)
    await house.user()
    identity = await house.sessions.resolve((await house.sign_in()).token, "header")
    for _ in range(3):
        change = house.accounts.change_password(identity, "wrong", "short")
        assert await problem(change) == (400, "password_too_short")


@pytest.mark.parametrize("step", ["reset", "revoke"])
async def test_a_change_overtaken_by_a_reset_or_a_revocation_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    user = await house.user()
    signed_in = await house.sign_in()
    identity = await house.sessions.resolve(signed_in.token, "header")
    verify = Passwords.verify

    async def slow(passwords: Passwords, password_hash: str | None, password: str) -> bool:
        verified = await verify(passwords, password_hash, password)
        if step == "reset":
            await house.accounts.set_password(user.id, "an operator's choice")
        else:
            await house.accounts.revoke_token(signed_in.session_id)
        return verified

    monkeypatch.setattr(Passwords, "verify", slow)
    change = house.accounts.change_password(identity, PASSWORD, NEW_PASSWORD)
    assert await problem(change) == (401, "unauthorized")
    monkeypatch.undo()
    assert await problem(house.sign_in(password=NEW_PASSWORD)) == (401, "invalid_credentials")


# Sessions


async def test_signing_out_ends_the_presented_session_only(house: House) -> None:
    await house.user()
    one, other = await house.sign_in(), await house.sign_in()
    identity = await house.sessions.resolve(one.token, "header")
    kept = await house.sessions.resolve(other.token, "header")
    ended = await house.accounts.sign_out(identity)
    which = {"user_id": one.user.id, "session_id": one.session_id}
    assert closed(ended) == [(which, 1000, "signed_out")]
    assert (house.sessions.holds(identity), house.sessions.holds(kept)) == (False, True)
    assert [await dead(house, token) for token in (one.token, other.token)] == [True, False]


async def test_an_issued_token_holds_with_and_without_a_device(house: House) -> None:
    user = await house.user()
    plain = await house.accounts.issue_token(user.id, None, "web", label=" back\x00up ")
    device = await house.accounts.issue_token(user.id, "script-0001", "TOASTER", "Cron")
    assert plain.device is None
    assert device.device is not None
    assert (device.device.device_type, device.device.device_name) == ("unknown", "Cron")
    assert (await house.sessions.resolve(plain.token, "header")).device_id is None
    labels = [session.label for session in await house.accounts.list_sessions(user.id)]
    assert labels == ["backup", None]


@pytest.mark.parametrize("by", ["id", "token"])
async def test_a_token_is_revoked_by_id_or_by_itself(house: House, by: str) -> None:
    user = await house.user()
    issued = await house.accounts.issue_token(user.id, "script-0001", "web")
    identity = await house.sessions.resolve(issued.token, "header")
    named = issued.session_id if by == "id" else issued.token
    ended = await house.accounts.revoke_token(named)
    which = {"user_id": issued.user.id, "session_id": issued.session_id}
    assert closed(ended) == [(which, 4502, "revoked")]
    assert not house.sessions.holds(identity)
    assert await dead(house, issued.token)
    assert await problem(house.accounts.revoke_token(named)) == (404, "session_not_found")


@pytest.mark.parametrize("unknown", [0, 77, 2**64, "x" * 43, ""])
async def test_an_unknown_session_is_not_found(house: House, unknown: int | str) -> None:
    assert await problem(house.accounts.revoke_token(unknown)) == (404, "session_not_found")


async def test_listed_sessions_hold(build: Build) -> None:
    house = await build(session_idle_days=30, session_max_days=45)
    user = await house.user()
    idle, used, late = [await house.sign_in() for _ in range(2)], await house.sign_in(), None
    house.clock.advance(20 * DAY)
    await house.sessions.resolve(used.token, "header")
    late = await house.sign_in()
    house.clock.advance(15 * DAY)
    listed = [session.id for session in await house.accounts.list_sessions(user.id)]
    assert listed == [used.session_id, late.session_id]
    assert len(idle) == 2
    house.clock.advance(12 * DAY)
    [last] = await house.accounts.list_sessions(user.id)
    assert (last.id, last.expires_at) == (late.session_id, int((NOON + 65 * DAY) * 1000))


async def test_a_caller_who_goes_away_leaves_nothing_half_done(house: House) -> None:
    user = await house.user()
    token = (await house.sign_in()).token
    identity = await house.sessions.resolve(token, "header")
    told: list[ToClose] = []
    house.sessions.on_ended = told.append
    caller = asyncio.ensure_future(house.accounts.disable_user(user.id))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert [closed(ended) for ended in told] == [[({"user_id": user.id}, 4502, "revoked")]]
    assert not house.sessions.holds(identity)
    assert await dead(house, token)
