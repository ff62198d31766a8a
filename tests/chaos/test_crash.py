"""Nothing is lost, doubled or out of order, whenever the server is killed."""

from tests.chaos.conftest import Chaos


def test_devices_have_everything_after_kills_at_random_instants(chaos: Chaos) -> None:
    told = chaos(
        *("crash", "--kills", "5", "--devices", "20", "--users", "5", "--messages", "4000"),
    )
    assert told.count("kills") == 5
    assert told.count("instances") == 22
    assert told.count("resumed") >= 22
    assert told.count("kept") == told.count("rows at the end")
    assert told.count("acknowledged") == 4000
    # What was given up at a kill may be kept or not.
    assert 4000 <= told.count("kept") <= told.count("messages")
