"""A program of devices that lose their sessions one after the other, while messages flow to all.

    python -m scripts.faults.revoking PLAN

`do` of the plan: `per_second` (requests that end sessions) and `messages_per_second` (of the first
device of each user, which stays, to its others). A third of the users has every device sign out, a
third has the first device remove the others one by one, a third has it remove them all at once.
Reports `ready`, waits for `go`, reports `closed` with the count as it grows, and `done` with how
long it took from request to close, and with what should not have been.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from scripts.faults.bare import PATIENCE_SECONDS, Bare, request, upgrade
from scripts.faults.fleet import Fleet, commands, paced, reporting, run, say, told
from scripts.faults.latencies import Latencies
from scripts.faults.link import Link
from scripts.faults.plan import Account

AT_ONCE: Final = 50
"""Devices that connect at the same time in the beginning."""

KINDS: Final = ("signed out", "removed", "all others removed")
CODES: Final = {"signed out": 1000, "removed": 4502, "all others removed": 4502}
UNAUTHORIZED: Final = 401


class Holder:
    """A device with one connection, until its session ends."""

    def __init__(self, account: Account, port: int, wrong: Counter[str]) -> None:
        self.account = account
        self.there = asyncio.Event()
        self.received = 0
        self.ended_at = 0.0
        self._revoked_at: int | None = None
        self._link = Link(self._take)
        self._port = port
        self._wrong = wrong

    async def connect(self) -> None:
        """Connect, and wait for the first message."""
        url = f"ws://127.0.0.1:{self._port}/v1/ws"
        await self._link.open(url, {"Authorization": f"Bearer {self.account.token}"})
        await self.there.wait()

    async def ended(self, code: int) -> None:
        """Wait for the close, which must have this code; what comes back then must be refused."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                came = await self._link.ended()
        except TimeoutError:
            self._wrong["was not closed"] += 1
            self.leave()
            return
        self.ended_at = time.monotonic()
        if came != code:
            self._wrong[f"closed with {came} instead of {code}"] += 1

    def is_revoked(self) -> None:
        """Note that the server has answered: nothing that is sent from now on may come."""
        self._revoked_at = time.monotonic_ns()

    async def try_again(self) -> None:
        """Come with the token that has ended."""
        peer = await Bare.connect(self._port)
        peer.write(upgrade(self.account.token))
        if (status := await peer.status()) != UNAUTHORIZED:
            self._wrong[f"came back, and was answered with {status}"] += 1
        peer.abort()

    def speak(self, number: int) -> None:
        """Send a message to the user's other devices, every other one durable."""
        body: dict[str, Any] = {"to": "others", "type": "trial.note"}
        body["payload"] = {"sent": time.monotonic_ns()}
        if number % 2:
            body["store"] = "log"
        self._link.send({"type": "device.send", "payload": body})

    def leave(self) -> None:
        """End the connection."""
        self._link.abort()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "connected":
            self.there.set()
        elif message["type"] == "trial.note":
            self.received += 1
            if self._revoked_at is not None and message["payload"]["sent"] > self._revoked_at:
                self._wrong["was sent a message after its session had ended"] += 1
        elif message["type"] == "error":
            self._wrong[f"was told {message['payload']['code']}"] += 1


class Revocations:
    """Ends sessions, and times how soon their connections close."""

    def __init__(self, fleet: Fleet) -> None:
        self.closed = 0
        self.wrong: Counter[str] = Counter()
        self.latencies = Latencies(*KINDS)
        self.users = [
            [Holder(device.account, fleet.plan.port, self.wrong) for device in devices]
            for devices in fleet.users.values()
        ]
        self._port = fleet.plan.port
        self._rng = random.Random(fleet.rng.random())

    @property
    def holders(self) -> list[Holder]:
        """All devices."""
        return [holder for holders in self.users for holder in holders]

    async def end_all(self, per_second: float) -> None:
        """End every session but those of each user's first device."""
        steps = [step for number, user in enumerate(self.users) for step in _steps(number, user)]
        self._rng.shuffle(steps)
        async with asyncio.TaskGroup() as tasks:
            async for number in paced(per_second):
                if number == len(steps):
                    return
                tasks.create_task(self._end(*steps[number]))

    async def _end(
        self, kind: str, by: Account, asked: tuple[str, str], ending: Sequence[Holder]
    ) -> None:
        ends = [asyncio.create_task(holder.ended(CODES[kind])) for holder in ending]
        peer = await Bare.connect(self._port)
        method, path = asked
        began = time.monotonic()
        peer.write(request(path, by.token, method, {"Content-Length": "0"}))
        if (status := await peer.status()) not in (200, 204):
            self.wrong[f"{method} was answered with {status}"] += 1
        for holder in ending:
            holder.is_revoked()
        peer.abort()
        await asyncio.gather(*ends)
        for holder in ending:
            self.latencies.note(kind, holder.ended_at - began)
        self.closed += len(ending)
        await asyncio.gather(*(holder.try_again() for holder in ending))


Step = tuple[str, Account, tuple[str, str], Sequence[Holder]]
"""How sessions end, who asks for it, method and path, and whose they are."""


def _steps(number: int, user: Sequence[Holder]) -> list[Step]:
    first, others = user[0].account, user[1:]
    kind = KINDS[number % len(KINDS)]
    if kind == "signed out":
        return [(kind, one.account, ("POST", "/v1/auth/logout"), [one]) for one in others]
    if kind == "removed":
        return [
            (kind, first, ("DELETE", f"/v1/devices/{one.account.device}"), [one]) for one in others
        ]
    return [(kind, first, ("POST", "/v1/devices/revoke-others"), others)] if others else []


async def _talk(first: Sequence[Holder], per_second: float) -> None:
    async for number in paced(per_second):
        first[number % len(first)].speak(number)


async def revoke(fleet: Fleet) -> None:
    """Connect all, and end their sessions while messages flow."""
    do = fleet.plan.do
    revocations = Revocations(fleet)
    holders = revocations.holders
    for some in range(0, len(holders), AT_ONCE):
        await asyncio.gather(*(holder.connect() for holder in holders[some : some + AT_ONCE]))
    say("ready")
    await told(await commands(), "go")
    first = [user[0] for user in revocations.users]
    talking = asyncio.create_task(_talk(first, do["messages_per_second"]))
    async with reporting("closed", lambda: revocations.closed):
        await revocations.end_all(do["per_second"])
    talking.cancel()
    await asyncio.gather(talking, return_exceptions=True)
    for holder in first:
        holder.leave()
    received = sum(holder.received for holder in holders)
    say(
        "done",
        received=received,
        wrong=revocations.wrong,
        latencies=revocations.latencies.figures(),
    )


if __name__ == "__main__":
    run(revoke)
