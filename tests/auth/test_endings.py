"""What has ended lately is refused also to those who were let in before; nothing else is."""

from dataclasses import replace

import pytest

from app.auth.endings import RecentEndings
from app.auth.tokens import Identity
from app.storage.endings import DeviceEnding, JwtEnding, SessionEnding, UserEnding

SESSION = Identity(
    user_id=1,
    handle="ada",
    roles=(),
    device_id=2,
    session_id=3,
    expires_at=9e9,
    via="header",
)
JWT = replace(SESSION, session_id=None, issued_at=1000.0, jwt_hash=b"hash")
ISSUED = 1_000_000
"""When it was, in milliseconds."""


@pytest.fixture
def endings() -> RecentEndings:
    return RecentEndings(8)


def test_at_first_nothing_has_ended(endings: RecentEndings) -> None:
    assert not endings.include(SESSION)
    assert not endings.include(JWT)
    assert not endings.include(replace(JWT, device_id=None))


def test_a_session_that_ended_ends_no_other(endings: RecentEndings) -> None:
    endings.add(SessionEnding(user_id=1, session_id=3))
    assert endings.include(SESSION)
    assert not endings.include(replace(SESSION, session_id=4))
    assert not endings.include(JWT)


def test_a_jwt_that_ended_ends_no_other(endings: RecentEndings) -> None:
    endings.add(JwtEnding(user_id=1, jwt_hash=b"hash"))
    assert endings.include(JWT)
    assert not endings.include(replace(JWT, jwt_hash=b"other"))
    assert not endings.include(SESSION)


@pytest.mark.parametrize(("not_before", "ended"), [(ISSUED, True), (ISSUED - 1, False)])
def test_jwts_of_a_device_end_up_to_an_instant_and_its_sessions_go_on(
    endings: RecentEndings, not_before: int, ended: bool
) -> None:
    endings.add(DeviceEnding(user_id=1, device_id=2, not_before=not_before))
    assert endings.include(JWT) is ended
    assert not endings.include(replace(JWT, device_id=4))
    assert not endings.include(replace(JWT, device_id=None))
    assert not endings.include(SESSION)


def test_a_removed_device_ends_its_sessions_too(endings: RecentEndings) -> None:
    endings.add(DeviceEnding(user_id=1, device_id=2, not_before=ISSUED, removed=True))
    assert endings.include(JWT)
    assert endings.include(SESSION)
    assert not endings.include(replace(SESSION, device_id=4))
    assert not endings.include(replace(SESSION, device_id=None))


@pytest.mark.parametrize(("not_before", "ended"), [(ISSUED, True), (ISSUED - 1, False)])
def test_jwts_of_a_user_end_up_to_an_instant(
    endings: RecentEndings, not_before: int, ended: bool
) -> None:
    endings.add(UserEnding(user_id=1, sessions_upto=0, not_before=not_before))
    assert endings.include(JWT) is ended
    assert endings.include(replace(JWT, device_id=None)) is ended
    assert not endings.include(replace(JWT, user_id=5))


def test_sessions_of_a_user_end_up_to_a_number_but_the_kept_one(endings: RecentEndings) -> None:
    endings.add(UserEnding(user_id=1, sessions_upto=7, kept_session_id=3, not_before=0))
    found = {one: endings.include(replace(SESSION, session_id=one)) for one in (2, 3, 7, 8)}
    assert found == {2: True, 3: False, 7: True, 8: False}
    assert not endings.include(replace(SESSION, user_id=5, session_id=2))


def test_a_second_ending_that_finds_no_rows_ends_what_the_first_one_did(
    endings: RecentEndings,
) -> None:
    endings.add(UserEnding(user_id=1, sessions_upto=7, kept_session_id=3, not_before=0))
    endings.add(UserEnding(user_id=1, sessions_upto=0, not_before=0))
    assert endings.include(replace(SESSION, session_id=7))
    # The second one keeps none.
    assert endings.include(SESSION)
