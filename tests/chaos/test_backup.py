"""Backups beside a server that writes."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"megabytes": 20, "messages": 2000, "per_second": 800, "untimed": True}
# Latencies are judged, too: of three turns, since the machine may have a busy second.
FULL = {"megabytes": 500, "turns": 3}


def test_backups_beside_a_server_hold_up_nothing(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("backup", **sizes)
    assert told.count("backups") >= 1
    assert told.count("size") >= sizes["megabytes"]
