"""A program of devices that write and read while the database vanishes and comes back.

    python -m scripts.faults.vanishing PLAN

`do` of the plan: `messages`. Reports `ready`, waits for `go`, and reports `answered` with the count
as it grows. The commands `gone` and `back` become records of the journal, of which it reports
`noted` with their count. After `finish` it ends when every device has the last message of its user,
after `end` at once.
"""

import asyncio
from typing import Final

from scripts.faults.fleet import Fleet, commands, reporting, run, say, told
from scripts.faults.household import Household
from scripts.faults.journal import Returned, Vanished
from scripts.faults.writer import Habits
from scripts.faults.writing import writers_of

_RECORDS: Final[dict[str, type[Vanished] | type[Returned]]] = {"gone": Vanished, "back": Returned}


async def write(fleet: Fleet) -> None:
    """Write and read until all devices have everything."""
    # A commit during which the database vanishes is refused, and there when it comes back: only a
    # message with a name may be sent again.
    habits = Habits(abandoned_share=0, nameless_share=0)
    by_user = writers_of(fleet, fleet.plan.do["messages"], habits)
    households = [Household(fleet.users[user], made) for user, made in by_user.items()]
    writers = [writer for made in by_user.values() for writer in made]
    await fleet.join()
    say("ready")
    reader = await commands()
    await told(reader, "go")
    async with reporting("answered", lambda: sum(writer.answers for writer in writers)):
        for writer in writers:
            writer.begin()
        if await _note(fleet, reader) == "end":
            return
        for household in households:
            household.progress()
        for household in households:
            await household.complete.wait()
    say("done")


async def _note(fleet: Fleet, reader: asyncio.StreamReader) -> str:
    """Write a record for each command, up to one that has none; return that."""
    noted = 0
    while (record := _RECORDS.get(word := (await reader.readline()).decode().strip())) is not None:
        noted += 1
        fleet.devices[0].journal.write(record(noted))
        say("noted", count=noted)
    return word


if __name__ == "__main__":
    run(write)
