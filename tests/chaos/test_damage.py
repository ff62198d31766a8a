"""Damage of the files is found or harmless, and a loss of power loses nothing."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

# One of each kind of damage.
SMALL = {"flips": 8, "images": 3, "users": 3, "messages": 1200}
FULL = {"flips": 100, "images": 200, "users": 10, "messages": 20_000}


def test_damage_is_found_or_harmless_and_no_loss_of_power_loses_a_message(
    chaos: Chaos, long: bool
) -> None:
    sizes = FULL if long else SMALL
    told = chaos("damage", **sizes)
    assert told.count("damaged") == sizes["flips"]
    assert told.count("losses of power") == sizes["images"]
    assert told.count("acknowledged") == sizes["messages"]
