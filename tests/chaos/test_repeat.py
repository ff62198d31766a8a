"""A message that is sent again and again is kept once."""

from tests.chaos.conftest import Chaos


def test_repeats_over_reconnects_and_restarts_are_kept_once(chaos: Chaos) -> None:
    told = chaos("repeat", "--messages", "2000", "--restarts", "4")
    assert told.count("rows in the table") == told.count("kept") == 2000
    # Each was sent at least once more, but for the last one of each of ten users.
    assert told.count("sends") >= 2 * 2000 - 10
    assert told.count("repeats recognised") > 2000
