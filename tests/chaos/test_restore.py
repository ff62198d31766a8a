"""A copy that is put back loses what came after it, and every device that had that is told."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"copies": 3, "put_backs": 4, "restarts": 1, "devices": 12}
FULL = {"copies": 45, "put_backs": 60, "restarts": 15, "devices": 100}


def test_copies_put_back_at_random_reset_who_was_ahead_and_resume_all_others(
    chaos: Chaos, long: bool
) -> None:
    sizes = FULL if long else SMALL
    told = chaos("restore", **sizes)
    assert told.count("copies") == sizes["copies"]
    assert told.count("put back") == sizes["put_backs"]
    assert told.count("devices") == sizes["devices"]
    # Something was lost with a database, and somebody had it.
    assert told.count("acknowledged, and put away with a database") > 0
    assert told.count("told reset, ahead of the copy") > 0
    assert told.count("resumed") > 0
