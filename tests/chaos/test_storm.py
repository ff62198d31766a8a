"""All devices come back after a restart, each with what it missed."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_everybody_comes_back_and_catches_up(chaos: Chaos, how: str, long: bool) -> None:
    devices, most, window = (5000, 400, 5) if long else (200, 100, 1)
    told = chaos("storm", devices=devices, most=most, window=window, how=how)
    assert told.count("came back") == told.count("resumed") == devices
    assert told.count("messages missed") > devices
    assert told.count("received") == devices * (most + 1)
