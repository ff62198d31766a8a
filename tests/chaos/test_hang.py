"""Handlers that never end hold up nothing else, and take bounded memory."""

from tests.chaos.conftest import Chaos

DEVICES = 300
"""More than the 256 whose waiting messages fill the node's 64 MiB."""


def test_handlers_that_hang_time_out_and_hold_up_nothing_else(chaos: Chaos) -> None:
    told = chaos(
        *("hang", "--devices", str(DEVICES), "--handler-seconds", "3", "--untimed"),
        *("--seconds", "2", "--per-second", "600"),
    )
    # One while others are measured, and one that small messages, and large ones, wait behind.
    assert told.count("hanging: hang.forever: timed_out") >= 3 * DEVICES
    assert told.count("hanging: hang.small: ok") == 64 * DEVICES
    assert told.count("hanging: hang.small: busy") == 4 * DEVICES
    waited, refused = (told.count(f"hanging: hang.large: {how}") for how in ("ok", "busy"))
    assert waited + refused == 5 * DEVICES
    # Nobody had to come back, and each has all that its user was sent.
    assert told.count("connections") == DEVICES
    assert told.count("received") == 10 * told.count("kept")
