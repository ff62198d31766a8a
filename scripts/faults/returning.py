"""A program of devices that come back to a server of a newer version.

    python -m scripts.faults.returning PLAN

`do` of the plan: `positions` (of each device, epoch and offset; null if its cursor decides) and
`repeats` (of each device, name and text length of messages that it sent to the version before).
Every device comes back, repeats these messages, and gets one more message of its user. Reports
`done`.
"""

import random

from app.protocol.position import Position
from scripts.faults.device import Device
from scripts.faults.fleet import Fleet, run, say
from scripts.faults.household import Household
from scripts.faults.writer import Habits, Writer


async def come_back(fleet: Fleet) -> None:
    """Come back, repeat, and wait until every device has everything."""
    do = fleet.plan.do
    writers = [_writer(fleet, device, do["repeats"]) for device in fleet.devices]
    households = [
        Household(devices, [writers[device.account.number] for device in devices])
        for devices in fleet.users.values()
    ]
    for device, position in zip(fleet.devices, do["positions"], strict=True):
        if position is None:
            device.by_cursor = True
        else:
            device.position = Position(position["epoch"], position["offset"])
    await fleet.join()
    for writer in writers:
        writer.begin()
    for household in households:
        household.progress()
    for household in households:
        await household.complete.wait()
    say("done")


def _writer(fleet: Fleet, device: Device, repeats: list[list[tuple[str, int]]]) -> Writer:
    writer = Writer(device, [], 0, Habits(), random.Random(fleet.rng.random()))
    device.author = writer
    for name, size in repeats[device.account.number]:
        writer.repeat(name, size)
    return writer


if __name__ == "__main__":
    run(come_back)
