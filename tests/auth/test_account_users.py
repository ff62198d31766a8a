"""Users: added, disabled, deleted, given a password."""

import pytest

from tests.auth.house import PASSWORD, House, closed, dead, problem

NEW_PASSWORD = "staple battery horse"


async def test_a_new_user_can_be_found_in_any_case(house: House) -> None:
    user = await house.accounts.add_user(" Ada ", PASSWORD, roles=("admin",))
    assert (user.handle, user.roles, user.is_admin) == ("Ada", ("admin",), True)
    assert await house.accounts.find_user("aDA") == user
    assert await house.accounts.get_user(user.id) == user
    assert await house.accounts.list_users() == [user]


async def test_a_handle_is_taken_in_any_case(house: House) -> None:
    await house.user("Ada")
    assert await problem(house.accounts.add_user("ada", PASSWORD)) == (409, "handle_taken")


@pytest.mark.parametrize(
    ("handle", "password", "code"),
    [
        ("", PASSWORD, "invalid_handle"),
        ("two words", PASSWORD, "invalid_handle"),
        ("ada", "short", "password_too_short"),
        ("ada", "x" * 1025, "password_too_long"),
        ("ada", "é" * 600, "password_too_long"),
    ],
)
async def test_a_bad_handle_or_password_adds_nobody(
    house: House, handle: str, password: str, code: str
) -> None:
    assert await problem(house.accounts.add_user(handle, password)) == (400, code)
    assert await house.accounts.list_users() == []


async def test_an_unknown_user_is_not_found(house: House) -> None:
    for asked in (
        house.accounts.find_user("nobody"),
        house.accounts.find_user("no body"),
        house.accounts.get_user(7),
        house.accounts.get_user(2**70),
        house.accounts.disable_user(7),
        house.accounts.enable_user(7),
        house.accounts.delete_user(7),
        house.accounts.set_password(7, NEW_PASSWORD),
        house.accounts.issue_token(7, None, "web"),
    ):
        assert await problem(asked) == (404, "user_not_found")


async def test_disabling_ends_every_session_and_sign_in(house: House) -> None:
    user = await house.user()
    tokens = [(await house.sign_in(uuid=f"device-000{number}")).token for number in range(2)]
    identity = await house.sessions.resolve(tokens[0], "header")
    ended = await house.accounts.disable_user(user.id)
    assert closed(ended) == [({"user_id": user.id}, 4502, "revoked")]
    assert not house.sessions.holds(identity)
    assert all([await dead(house, token) for token in tokens])
    assert await problem(house.sign_in()) == (401, "invalid_credentials")
    assert await problem(house.accounts.issue_token(user.id, None, "web")) == (409, "user_disabled")


async def test_an_enabled_user_signs_in_again_with_new_tokens_only(house: House) -> None:
    user = await house.user()
    token = (await house.sign_in()).token
    await house.accounts.disable_user(user.id)
    await house.accounts.enable_user(user.id)
    assert await dead(house, token)
    assert not await dead(house, (await house.sign_in()).token)


async def test_deleting_frees_the_handle_and_nothing_of_the_old_user_comes_back(
    house: House,
) -> None:
    old = await house.user()
    signed_in = await house.sign_in()
    assert signed_in.device is not None
    ended = await house.accounts.delete_user(old.id)
    assert closed(ended) == [({"user_id": old.id}, 4502, "revoked")]
    assert await dead(house, signed_in.token)
    assert await problem(house.sign_in()) == (401, "invalid_credentials")
    assert not await house.accounts.known_device(old.id, signed_in.device.id)

    new = await house.user()
    assert new.id > old.id
    assert await house.accounts.list_devices(new.id) == []
    assert (await house.sign_in()).device != signed_in.device


async def test_a_reset_password_ends_every_session(house: House) -> None:
    user = await house.user()
    token = (await house.sign_in()).token
    ended = await house.accounts.set_password(user.id, NEW_PASSWORD)
    assert closed(ended) == [({"user_id": user.id}, 4502, "revoked")]
    assert await dead(house, token)


async def test_a_user_from_outside_has_no_password_here(house: House) -> None:
    identity = await house.sessions.resolve(house.jwt(), "header")
    accounts = house.accounts
    for asked in (
        accounts.set_password(identity.user_id, NEW_PASSWORD),
        accounts.change_password(identity, PASSWORD, NEW_PASSWORD),
    ):
        assert await problem(asked) == (400, "no_password")
    assert await problem(house.sign_in("customer-7", password="")) == (401, "invalid_credentials")
