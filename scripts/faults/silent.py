"""A program of peers that connect, and then wait to vanish.

    python -m scripts.faults.silent PLAN

`do` of the plan: `host` (of the server) and `in_frame` (whether they end in the middle of a frame).
Reports `started`, waits for `connect`, reports `connected` when all are, waits for `be silent`, and
reports `ready`. They answer pings, but for those in the middle of a frame, until the program is
stopped or its network cut.
"""

import asyncio
from typing import Final

from scripts.faults.bare import Bare, message, upgrade
from scripts.faults.fleet import Fleet, commands, run, say, told
from scripts.faults.plan import Account

HALF: Final = message("ping", "x" * 1000)[:500]
UPGRADED: Final = 101


async def be_silent(fleet: Fleet) -> None:
    """Connect, and stay until told to go."""
    do, orders = fleet.plan.do, await commands()
    answering: list[asyncio.Task[int]] = []

    async def connect(account: Account) -> Bare:
        peer = await Bare.connect(fleet.plan.port, host=do["host"])
        peer.write(upgrade(account.token))
        if (status := await peer.status()) != UPGRADED:
            raise ConnectionError(f"the upgrade was answered with {status}")
        await peer.frame()
        peer.patience = None
        # From now on, since it may take long until the others are connected.
        answering.append(asyncio.create_task(peer.code()))
        return peer

    say("started")
    await told(orders, "connect")
    peers = [await connect(account) for account in fleet.plan.accounts]
    say("connected")
    await told(orders, "be silent")
    for peer in peers if do["in_frame"] else ():
        peer.mute = True
        peer.write(HALF)
    say("ready")
    await orders.readline()
    for peer in peers:
        peer.abort()
    await asyncio.gather(*answering)


if __name__ == "__main__":
    run(be_silent)
