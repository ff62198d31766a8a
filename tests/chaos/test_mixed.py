"""Everything at once, for long: nothing is lost, and memory does not grow."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {
    "minutes": 0.18,
    "kill_minutes": 0.05,
    "devices": 20,
    "users": 5,
    "cuts": 600,
    "stalls": 300,
}
FULL = {"minutes": 5, "kill_minutes": 1, "devices": 100, "users": 25, "cuts": 60, "stalls": 60}


def test_nothing_is_lost_to_kills_cuts_and_slow_readers(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("mixed", **sizes)
    assert told.count("kills") >= 1
    # Of what is made at random instants, half as much as usual is not chance.
    for what, per_minute in (("cuts", "cuts"), ("readers that stopped", "stalls")):
        assert told.count(what) > sizes["minutes"] * sizes[per_minute] / 2
    assert told.count("acknowledged") >= told.count("answers")
