"""Devices that read nothing cost little, and have everything in the end."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

DEVICES_EACH = 10
SMALL = {"devices": 100, "stalled": 10, "messages": 4000, "per_second": 800, "untimed": True}
# Latencies are judged, too: of three turns, since the machine may have a busy second.
FULL = {"devices": 1000, "stalled": 50, "messages": 100_000, "per_second": 1500, "turns": 3}


def test_stalled_devices_catch_up_and_memory_stays_bounded(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("slow", **sizes)
    assert told.count("stalled: behind or closed") >= sizes["stalled"]
    users, durable = sizes["devices"] // DEVICES_EACH, sizes["messages"] // 2
    # One more message of each user is the last.
    assert told.count("received") == DEVICES_EACH * (durable + users)
