"""Devices that read nothing cost little, and have everything in the end."""

from tests.chaos.conftest import Chaos


def test_stalled_devices_catch_up_and_memory_stays_bounded(chaos: Chaos) -> None:
    told = chaos(
        *("slow", "--devices", "100", "--stalled", "10", "--untimed"),
        *("--messages", "4000", "--per-second", "800"),
    )
    assert told.count("stalled: behind or closed") >= 10
    assert told.count("received") == 10 * (2000 + 10)
