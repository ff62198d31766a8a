"""A program of devices that obey when the server stops, and count what a restart costs them.

    python -m scripts.faults.restarting PLAN

`do` of the plan: `plain_every` (every n-th client is not positioned, 0: none is). Reports `ready`
when all are connected, then waits for `restart`. A positioned client comes back when `goaway` said,
a plain one after a second or less, and each again after a refusal, twice as late each time. Reports
`back` when all are there again.
"""

import asyncio
import random
import socket
import time
from typing import Any, Final

from scripts.faults.fleet import Fleet, commands, run, say, told
from scripts.faults.link import Link
from scripts.faults.plan import Account

BACK_OFF: Final = (0.5, 10.0)
"""The first pause of a plain client, and the longest, in seconds, before the dice."""


class Client:
    """One connection, which comes back once."""

    def __init__(
        self, account: Account, port: int, rng: random.Random, *, positioned: bool
    ) -> None:
        self.positioned = positioned
        self.there = asyncio.Event()
        self.refused = 0
        self.turned_away = 0
        """Upgrades that a server answered with a refusal."""
        self.outage = 0.0
        """Seconds from the end of its first connection to the beginning of the second."""
        self._after = 0.0
        self._link = Link(self._take)
        self._rng = rng
        self._port = port
        start = "&resume=live" if positioned else ""
        self._url = f"ws://127.0.0.1:{port}/v1/ws?instance={account.instance}{start}"
        if not positioned:
            self._url = f"ws://127.0.0.1:{port}/v1/ws"
        self._headers = {"Authorization": f"Bearer {account.token}"}

    async def run(self) -> None:
        """Connect, and connect again after the end of that connection."""
        await self._open()
        await self._link.ended()
        ended = time.monotonic()
        await self._come_back()
        self.outage = time.monotonic() - ended

    async def _open(self) -> None:
        """Connect, and wait for the first message; raises OSError if there is none."""
        self.there.clear()
        self._link = Link(self._take)
        await self._link.open(self._url, self._headers)
        ended = asyncio.create_task(self._link.ended())
        there = asyncio.create_task(self.there.wait())
        await asyncio.wait([ended, there], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        there.cancel()
        if not self.there.is_set():
            raise ConnectionResetError

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "connected":
            self.there.set()
        elif message["type"] == "goaway":
            self._after = message["payload"]["after_ms"] / 1000

    async def _come_back(self) -> None:
        pause, longest = BACK_OFF
        await asyncio.sleep(self._after if self.positioned else self._rng.uniform(0, 2 * pause))
        while True:
            try:
                await self._look()
                await self._open()
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.turned_away += 1
            else:
                return
            pause = min(2 * pause, longest)
            await asyncio.sleep(self._rng.uniform(pause / 2, pause))

    async def _look(self) -> None:
        """Raise ConnectionRefusedError if nobody listens; a library may hide it."""
        with socket.socket() as probe:
            probe.setblocking(False)
            await asyncio.get_running_loop().sock_connect(probe, ("127.0.0.1", self._port))


async def restarting(fleet: Fleet) -> None:
    """Connect all, and wait until all have come back."""
    every = fleet.plan.do["plain_every"]
    clients = [
        Client(
            account,
            fleet.plan.port,
            random.Random(fleet.rng.random()),
            positioned=not every or place % every != 0,
        )
        for place, account in enumerate(fleet.plan.accounts)
    ]
    tasks = []
    for client in clients:
        tasks.append(asyncio.create_task(client.run()))
        if len(tasks) % 50 == 0:
            await client.there.wait()
    await asyncio.gather(*(client.there.wait() for client in clients))
    say("ready")
    orders = await commands()
    await told(orders, "restart")
    await asyncio.gather(*tasks)
    say("back", **_figures(clients))


def _figures(clients: list[Client]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for kind in ("positioned", "plain"):
        some = [one for one in clients if one.positioned == (kind == "positioned")]
        outages = sorted(one.outage for one in some) or [0.0]
        figures[kind] = {
            "clients": len(some),
            "refused": sum(one.refused for one in some),
            "turned_away": sum(one.turned_away for one in some),
            "p50": outages[len(outages) // 2],
            "max": outages[-1],
        }
    return figures


if __name__ == "__main__":
    run(restarting)
