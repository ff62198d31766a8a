"""Nothing is lost, doubled or out of order, whenever the server is killed."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"kills": 5, "devices": 20, "users": 5, "messages": 4000}
FULL = {"kills": 50, "devices": 200, "users": 50, "messages": 100_000}


def test_devices_have_everything_after_kills_at_random_instants(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("crash", **sizes)
    assert told.count("kills") == sizes["kills"]
    # Every tenth device has a second tab.
    instances = sizes["devices"] * 11 // 10
    assert told.count("instances") == instances
    assert told.count("resumed") >= instances
    assert told.count("kept") == told.count("rows at the end")
    assert told.count("acknowledged") == sizes["messages"]
    # What was given up at a kill may be kept or not.
    assert sizes["messages"] <= told.count("kept") <= told.count("messages")
