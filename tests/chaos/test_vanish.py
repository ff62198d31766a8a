"""No message is acknowledged into a database that is gone, and none is lost when it comes back."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


def test_nothing_is_acknowledged_while_the_database_is_gone(chaos: Chaos, long: bool) -> None:
    losses, wrecks, messages = (54, 12, 60_000) if long else (4, 2, 2000)
    told = chaos("vanish", losses=losses, wrecks=wrecks, messages=messages)
    assert told.count("losses") == losses
    assert told.count("wrecks") == wrecks
    assert told.count("acknowledged") == messages
    assert told.count("refused") > 0
    assert told.count("into nothing") == 0
