"""All devices come back after a restart, each with what it missed."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_those_who_come_too_late_are_reset_and_get_what_is_kept(
    chaos: Chaos, how: str, long: bool
) -> None:
    devices, most, window, rows = (5000, 400, 10, 100) if long else (100, 200, 3, 60)
    told = chaos("storm", devices=devices, most=most, window=window, how=how, rows=rows)
    assert told.count("resumed") + told.count("told reset") >= devices
    assert told.count("told reset") > 0
    assert told.count("replayed") > 0
    assert told.count("received") < devices * (most + 1)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_everybody_comes_back_and_catches_up(chaos: Chaos, how: str, long: bool) -> None:
    devices, most, window = (5000, 400, 5) if long else (200, 100, 1)
    told = chaos("storm", devices=devices, most=most, window=window, how=how)
    assert told.count("came back") == told.count("resumed") == devices
    assert told.count("messages missed") > devices
    assert told.count("received") == devices * (most + 1)
