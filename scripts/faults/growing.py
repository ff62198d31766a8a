"""A program of one user who does, at every limit, all that a database keeps something of.

    python -m scripts.faults.growing PLAN

`do` of the plan: `handle` and `password`, `devices` (that stay connected), `per_second` (durable
messages of each), `keys` (that they change and remove) and `workers` (HTTP requests of each kind at
a time). Says `ready` and waits for `go`; does all until `stop`, and says `over` with what was
answered how often. Meanwhile it reports as `kinds` how many have come of the answers that a user at
every limit gets.
"""

import asyncio
import itertools
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiohttp

from scripts.faults.device import Message
from scripts.faults.fleet import commands, reporting, say, told
from scripts.faults.growth import met
from scripts.faults.link import Link
from scripts.faults.plan import Plan, read_plan

TICK_SECONDS: Final = 0.02
RETRY_SECONDS: Final = 0.2
"""After a refusal."""
TEXT: Final = "x" * 200


class Greedy:
    """One device that stores messages of every kind over a socket, and acknowledges them."""

    def __init__(self, plan: Plan, number: int, token: str, answers: Counter[str]) -> None:
        self._do = plan.do
        self._url = f"ws://127.0.0.1:{plan.port}/v1/ws?instance=main&snapshot=1"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._number = number
        self._answers = answers
        self._rng = random.Random(plan.seed + number)
        self._offset = 0

    async def run(self) -> None:
        """Send until cancelled, over as many connections as it takes."""
        while True:
            link = Link(self._take)
            try:
                await link.open(self._url, self._headers)
            except OSError:
                self._answers["upgrade refused"] += 1
            else:
                sending = asyncio.create_task(self._send(link))
                try:
                    self._answers[f"closed {await link.ended()}"] += 1
                finally:
                    sending.cancel()
                    link.abort()
            await asyncio.sleep(RETRY_SECONDS)

    async def _send(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        kinds = itertools.cycle((self._log, self._log, self._change, self._remove))
        while True:
            while sent < (loop.time() - began) * self._do["per_second"]:
                sent += 1
                link.send(next(kinds)())
            link.send({"type": "ack", "id": "ack", "payload": {"offset": self._offset}})
            await asyncio.sleep(TICK_SECONDS)

    def _log(self) -> Message:
        name = f"{self._number}-{self._rng.getrandbits(64)}"
        return self._message(store="log", message_id=name)

    def _change(self) -> Message:
        return self._message(store="latest", key=self._key())

    def _remove(self) -> Message:
        return self._message(store="latest", key=self._key(), delete=True, payload=None)

    def _key(self) -> str:
        return f"{self._rng.randrange(self._do['keys'])}"

    def _message(self, **keys: Any) -> Message:
        body = {"to": "user", "type": "growth.note", "payload": TEXT, **keys}
        return {"type": "device.send", "id": "send", "payload": body}

    def _take(self, message: Message) -> None:
        payload: Any = message.get("payload")
        if "offset" in message:
            self._offset = max(self._offset, message["offset"])
        elif message["type"] == "error":
            self._answers[f"{message.get('reply_to', 'message')}: {payload['code']}"] += 1
        elif message["type"] == "ok":
            self._answers[f"{message['reply_to']}: ok"] += 1


class Writes:
    """What the same user writes by HTTP."""

    def __init__(self, http: aiohttp.ClientSession, plan: Plan, answers: Counter[str]) -> None:
        self.tokens: dict[str, tuple[int, str]] = {}
        """Device and token of each `device_uuid` that stays."""
        self._http = http
        self._do = plan.do
        self._at = f"http://127.0.0.1:{plan.port}/v1"
        self._answers = answers
        self._names = itertools.count()

    async def stay(self, uuid: str) -> None:
        """Sign a device in that is to stay."""
        while uuid not in self.tokens:
            signed_in = await self._sign_in(uuid)
            if signed_in is not None:
                self.tokens[uuid] = signed_in

    async def add_session(self) -> None:
        """Sign a device in that is signed in already."""
        await self._sign_in(next(iter(self.tokens)), "sign-in")

    async def add_device(self) -> None:
        """Sign in a device that was never there before."""
        await self._sign_in(f"new-{os.getpid()}-{next(self._names)}", "sign-in of a new device")

    async def rename(self) -> None:
        """Give a device another name."""
        device, token = next(iter(self.tokens.values()))
        async with self._http.patch(
            f"{self._at}/devices/{device}",
            json={"device_name": f"name {next(self._names)}"},
            headers={"Authorization": f"Bearer {token}"},
        ) as answer:
            await self._note("rename", answer)

    async def repeat(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again until cancelled."""
        while True:
            try:
                await act()
            except (aiohttp.ClientError, OSError) as error:
                self._answers[f"HTTP {type(error).__name__}"] += 1
                await asyncio.sleep(RETRY_SECONDS)

    async def _sign_in(self, uuid: str, kind: str = "first sign-in") -> tuple[int, str] | None:
        body = {
            "user_handle": self._do["handle"],
            "password": self._do["password"],
            "device_uuid": uuid,
            "device_type": "web",
        }
        async with self._http.post(f"{self._at}/auth/login", json=body) as answer:
            await self._note(kind, answer)
            if answer.status != 201:
                return None
            told: dict[str, Any] = await answer.json()
            return told["device_id"], told["token"]

    async def _note(self, kind: str, answer: aiohttp.ClientResponse) -> None:
        await answer.read()
        self._answers[f"{kind}: {answer.status}"] += 1
        if not answer.ok:
            # As one who is refused would, but much sooner than told.
            await asyncio.sleep(RETRY_SECONDS)


async def grow(plan: Plan) -> None:
    """Do all at once until told to stop."""
    do, answers = plan.do, Counter[str]()
    async with aiohttp.ClientSession() as http:
        writes = Writes(http, plan, answers)
        for number in range(do["devices"]):
            await writes.stay(f"stays-here-{number}")
        say("ready")
        orders = await commands()
        await told(orders, "go")
        acts = (writes.add_session, writes.add_device, writes.rename)
        tasks = [
            asyncio.create_task(writes.repeat(act)) for act in acts for _ in range(do["workers"])
        ]
        for number, (_, token) in enumerate(writes.tokens.values()):
            tasks.append(asyncio.create_task(Greedy(plan, number, token, answers).run()))
        async with reporting("kinds", lambda: len(met(answers))):
            await told(orders, "stop")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    say("over", answers=answers)


if __name__ == "__main__":
    asyncio.run(grow(read_plan()))
