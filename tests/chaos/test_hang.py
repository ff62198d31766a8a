"""Handlers that never end hold up nothing else, and take bounded memory."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

DEVICES_EACH = 10
# More devices than the 256 whose waiting messages fill the node's 64 MiB.
SMALL = {"devices": 300, "handler_seconds": 6, "seconds": 2, "per_second": 600, "untimed": True}
# Latencies are judged, too: of five turns, since the machine may have busy seconds.
FULL = {"devices": 1000, "turns": 5}


def test_handlers_that_hang_time_out_and_hold_up_nothing_else(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("hang", **sizes)
    devices = sizes["devices"]
    # One while others are measured, and one that small messages, and large ones, wait behind.
    assert told.count("hanging: hang.forever: timed_out") >= 3 * devices
    assert told.count("hanging: hang.small: ok") == 64 * devices
    assert told.count("hanging: hang.small: busy") == 4 * devices
    waited, refused = (told.count(f"hanging: hang.large: {how}") for how in ("ok", "busy"))
    assert waited + refused == 5 * devices
    # Nobody had to come back, and each has all that its user was sent.
    assert told.count("connections") == devices
    assert told.count("received") == DEVICES_EACH * told.count("kept")
