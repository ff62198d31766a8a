"""All devices come back after a restart, each with what it missed."""

import pytest

from tests.chaos.conftest import Chaos


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_everybody_comes_back_and_catches_up(chaos: Chaos, how: str) -> None:
    told = chaos(
        *("storm", "--devices", "200", "--most", "100", "--window", "1", "--how", how),
    )
    assert told.count("came back") == told.count("resumed") == 200
    assert told.count("messages missed") > 200
    assert told.count("received") == 200 * 101
