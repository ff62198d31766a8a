"""An upgrade that is killed begins again, and no device notices it."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


def test_devices_go_on_after_an_upgrade_that_was_killed(chaos: Chaos, long: bool) -> None:
    size, kills = ("2GB", 10) if long else ("20MB", 2)
    told = chaos("upgrade", size=size, kills=kills)
    assert told.count("kills") == kills
    assert told.count("resumed") == told.count("devices")
    assert told.count("repeats recognised") == told.count("ids repeated")
    assert told.count("received") >= told.count("owed")
