"""A program of devices that all write and read until each has everything.

    python -m scripts.faults.writing PLAN

`do` of the plan: `messages`, and the fields of Habits. Reports `ready`, waits for `go`, reports
`answered` with the count as it grows, and ends when every device has the last message of its user.
"""

import random

from scripts.faults.fleet import Fleet, commands, reporting, run, say, share, told
from scripts.faults.household import Household
from scripts.faults.writer import Habits, Writer


def writers_of(fleet: Fleet, messages: int, habits: Habits) -> dict[int, list[Writer]]:
    """Give every device a writer; one message of each user is left for the end."""
    shares = share(messages - len(fleet.users), fleet.devices)
    made: dict[int, list[Writer]] = {user: [] for user in fleet.users}
    for device, count in zip(fleet.devices, shares, strict=True):
        colleagues = [one.account.device for one in fleet.users[device.account.user]]
        rng = random.Random(fleet.rng.random())
        writer = Writer(device, colleagues, count, habits, rng)
        device.author = writer
        made[device.account.user].append(writer)
    return made


async def write(fleet: Fleet) -> None:
    """Write and read until all devices have everything."""
    do = dict(fleet.plan.do)
    messages = do.pop("messages")
    by_user = writers_of(fleet, messages, Habits(**do))
    households = [Household(fleet.users[user], made) for user, made in by_user.items()]
    writers = [writer for made in by_user.values() for writer in made]
    await fleet.join()
    say("ready")
    await told(await commands(), "go")
    async with reporting("answered", lambda: sum(writer.answers for writer in writers)):
        for writer in writers:
            writer.begin()
        for household in households:
            # Users without messages of their own come to their last one at once.
            household.progress()
        for household in households:
            await household.complete.wait()
    say("done")


if __name__ == "__main__":
    run(write)
