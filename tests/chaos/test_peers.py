"""Peers that vanish without a word are freed in time."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

# A heartbeat of which half, in which each peer answers, is enough on a machine that is busy.
SMALL = {"peers": 20, "heartbeat": 4, "stall": 4, "message": 1, "untimed": True}
FULL = {"peers": 300, "heartbeat": 25, "stall": 60, "message": 30}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have peers be stopped, too, with --long; that takes as long again."""
    metafunc.parametrize("how", ["cut", "stopped"] if metafunc.config.option.long else ["cut"])


def test_peers_that_vanish_are_freed_in_time(chaos: Chaos, long: bool, how: str) -> None:
    sizes = FULL if long else SMALL
    told = chaos("peers", checked=False, how=how, **sizes)
    assert told.count("peers") == sizes["peers"]
    # Stopped ones took bytes, or answered nothing; others are also given up by the system.
    for what in ("idle", "with unsent bytes", "behind", "in a frame"):
        assert f"{how}, {what} " in told.text
