"""A clock that is set wrong for a while removes nothing and signs nobody out."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

KINDS = 7


def test_only_a_jump_that_lasts_ends_anything(chaos: Chaos, long: bool) -> None:
    jumps, messages, agreement = (60, 50_000, 60) if long else (KINDS, 2000, 20)
    told = chaos("clock", jumps=jumps, messages=messages, agreement=agreement)
    assert told.count("rows in the table") == told.count("kept") == messages
    assert told.count("jumps") == jumps
    # At least once in each jump, and once after it, however busy the machine is.
    assert told.count("asked who is signed in") >= 2 * jumps
