"""The log's line for a sign-in that fails."""

import logging
from typing import Any

import pytest

from app.auth.accounts import SignIn
from app.base.errors import Problem
from app.base.storms import at_most
from tests.auth.house import Build, House
from tests.databases import PASSWORD

NETWORKS = ("2001:db8:0:1::/64", "2001:db8::/56", "2001:db8::/48")
ADDRESS = "2001:db8:0:1::7"
WRONG = "a wrong password"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="app")
    return caplog


async def fail(house: House, handle: str = "ada", password: str = WRONG) -> None:
    # No device of anybody, which would have a limit of its own.
    form = SignIn(handle, password, "stranger-0001", "web")
    with pytest.raises(Problem):
        await house.accounts.sign_in(form, NETWORKS, ADDRESS)


def lines(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    found = [one for one in log.records if one.getMessage() == "sign-in failed"]
    return [one.__dict__["fields"] for one in found]


async def test_a_wrong_password_is_one_line_that_names_user_and_address(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    ada = await house.user()
    await fail(house, "ADA")
    assert lines(log) == [
        {"reason": "wrong_password", "user": ada.id, "handle": "ada", "address": ADDRESS}
    ]


@pytest.mark.parametrize("typed", ["nobody", PASSWORD, "what? no handle\n", "x" * 5000, "\udcff"])
async def test_what_is_nobodys_handle_may_be_a_password_and_is_not_logged(
    house: House, log: pytest.LogCaptureFixture, typed: str
) -> None:
    await house.user()
    await fail(house, typed)
    assert lines(log) == [{"reason": "unknown_user", "address": ADDRESS}]
    assert not [one for one in log.records if typed in str(one.__dict__)]


async def test_a_disabled_user_is_told_from_a_wrong_password(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    ada = await house.user()
    await house.accounts.disable_user(ada.id)
    await fail(house, password=PASSWORD)
    [line] = lines(log)
    assert (line["reason"], line["handle"]) == ("disabled", "ada")


async def test_a_try_beyond_the_limit_names_the_account_only_where_it_was_signed_in_to(
    build: Build, log: pytest.LogCaptureFixture
) -> None:
    house = await build(login_attempts=1)
    await house.user()
    await house.sign_in(address="192.0.2.1")
    for _ in range(2):
        await fail(house)
    for _ in range(2):
        with pytest.raises(Problem):
            await house.sign_in(uuid="device-0009", password=WRONG, address="192.0.2.1")
    limited = [line for line in lines(log) if line["reason"] == "too_many_attempts"]
    assert limited == [
        {"reason": "too_many_attempts", "address": ADDRESS},
        {"reason": "too_many_attempts", "handle": "ada", "address": "192.0.2.1"},
    ]


async def test_a_wrong_old_password_is_a_line_too(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    await house.user()
    identity = await house.sessions.resolve((await house.sign_in()).token, "header")
    with pytest.raises(Problem):
        await house.accounts.change_password(identity, WRONG, "a new password", ADDRESS)
    [line] = lines(log)
    assert (line["reason"], line["handle"], line["address"]) == ("wrong_password", "ada", ADDRESS)


async def test_a_sign_in_that_succeeds_has_no_such_line(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    await house.user()
    await house.sign_in()
    assert lines(log) == []


async def test_no_password_is_in_any_line(house: House, log: pytest.LogCaptureFixture) -> None:
    await house.user()
    await fail(house)
    await fail(house, handle=WRONG)
    assert log.records
    assert not [one for one in log.records if WRONG in str(one.__dict__)]


async def test_whoever_fails_again_and_again_fills_no_log(
    house: House, log: pytest.LogCaptureFixture
) -> None:
    await fail(house)
    [record] = [one for one in log.records if one.getMessage() == "sign-in failed"]
    assert record.__dict__["storm"] == at_most(NETWORKS[-1])["storm"]
