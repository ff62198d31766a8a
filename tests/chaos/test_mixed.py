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
    "stalls": 600,
}
FULL = {"minutes": 5, "kill_minutes": 1, "devices": 100, "users": 25, "cuts": 60, "stalls": 60}


def test_nothing_is_lost_to_kills_cuts_and_slow_readers(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("mixed", **sizes)
    assert told.count("kills") >= 1
    # Of what was due in this time, most found a connection.
    due = sizes["minutes"] * sizes["cuts"] / 2
    assert told.count("cuts") > due
    assert told.count("readers that stopped") > due / 2
    assert told.count("acknowledged") >= told.count("answers")
