"""A message that is sent again and again is kept once."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

USERS = 10


def test_repeats_over_reconnects_and_restarts_are_kept_once(chaos: Chaos, long: bool) -> None:
    messages, restarts = (100_000, 20) if long else (2000, 4)
    told = chaos("repeat", messages=messages, restarts=restarts)
    assert told.count("rows in the table") == told.count("kept") == messages
    # Each was sent at least once more, but for the last one of each user.
    assert told.count("sends") >= 2 * messages - USERS
    assert told.count("repeats recognised") > messages
