"""A log that nobody reads holds up no message, and tells what it lost."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {
    "devices": 20,
    "seconds": 3,
    "per_second": 100,
    "lines_per_second": 1000,
    "untimed": True,
}
FULL = {"devices": 100, "seconds": 60, "per_second": 500, "lines_per_second": 150, "turns": 3}


def test_a_log_that_nobody_reads_tells_later_what_it_lost(chaos: Chaos, long: bool) -> None:
    sizes = FULL if long else SMALL
    told = chaos("log", **sizes)
    assert told.count("lines dropped") > 0
