"""One user's flood is limited, and takes nothing from anybody else."""

import pytest

from scripts.faults.floods import FLOODS
from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"seconds": 3, "turns": 1, "untimed": True}
# Latencies are judged, too: of three turns, since the machine may have a busy second.
FULL = {"seconds": 10, "turns": 3}


SHORT = ("fragments", "dribbles", "writes", "resets", "halves")
"""One of each kind of defence; all floods take minutes."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run all floods with --long, and some without."""
    metafunc.parametrize("kind", FLOODS if metafunc.config.option.long else SHORT)


def test_a_flood_is_limited_and_others_get_everything(chaos: Chaos, kind: str, long: bool) -> None:
    told = chaos("flood", kind=kind, **(FULL if long else SMALL))
    assert told.count(f"{kind}: the flood") > 0
    assert told.count(f"{kind}: limited") > 0 or not FLOODS[kind].limited
    # Nobody of the others had to come back, or missed anything.
    assert told.count("connections") == told.count("devices")
    assert told.count("received") == 2 * told.count("kept")
