"""Messages of every kind that devices send at an even rate; each is timed."""

import asyncio
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from scripts.faults.asking import Answer, Asker
from scripts.faults.device import Message
from scripts.faults.fleet import Fleet
from scripts.faults.journal import Acknowledged, Sent
from scripts.faults.latencies import Latencies
from scripts.faults.text import TYPE, payload

KINDS: Final = ("ping", "ack", "device.send", "delivery", "durable")

SIZE: Final = 100
"""Characters of a message's text."""

TICK_SECONDS: Final = 0.005

PING: Final[Message] = {"type": "ping"}


class Traffic:
    """Has devices ping, acknowledge and send at an even rate, and times the answers."""

    def __init__(self, fleet: Fleet, askers: Sequence[Asker]) -> None:
        self.latencies = Latencies(*KINDS)
        """Of the last flow."""
        self.durable = 0
        """Durable messages that were sent."""
        self._rng = random.Random(fleet.rng.random())
        self._askers = askers
        self._answers: set[asyncio.Future[Answer]] = set()
        self._neighbours = {
            device: devices[place - 1].account.device
            for devices in fleet.users.values()
            for place, device in enumerate(devices)
        }
        for device in fleet.devices:
            device.took = self._took

    async def flow(self, seconds: float, per_second: float) -> None:
        """Send for so many seconds, and wait for the answers."""
        self.latencies = Latencies(*KINDS)
        began, sent = time.monotonic(), 0
        asks = (self._ping, self._acknowledge, self._send, self._keep)
        while (passed := time.monotonic() - began) < seconds:
            while sent < passed * per_second:
                asks[sent % len(asks)](self._rng.choice(self._askers))
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*self._answers)

    def _ping(self, asker: Asker) -> None:
        self._time("ping", asker.ask(PING))

    def _acknowledge(self, asker: Asker) -> None:
        at = asker.device.position
        offset = at.offset if at is not None else 0
        self._time("ack", asker.ask({"type": "ack", "payload": {"offset": offset}}))

    def _send(self, asker: Asker) -> None:
        """Send to one other device of the user."""
        content = payload(asker.next_id(), SIZE) | {"sent": time.monotonic_ns()}
        body = {"to": self._neighbours[asker.device], "type": TYPE, "payload": content}
        self._time("device.send", asker.ask({"type": "device.send", "payload": body}))

    def _keep(self, asker: Asker) -> None:
        """Send a durable one to all devices of the user: so there is news to acknowledge."""
        name, device, number = asker.next_id(), asker.device, asker.device.account.number
        body: dict[str, Any] = {"to": "user", "type": TYPE, "payload": payload(name, SIZE)}
        body |= {"store": "log", "message_id": name}
        device.journal.write(Sent(number, name, "user"))
        self.durable += 1
        asked = asker.ask({"type": "device.send", "payload": body})
        self._time("durable", asked)

        def answered(future: asyncio.Future[Answer]) -> None:
            told = future.result().payload
            if told is not None:
                device.journal.write(
                    Acknowledged(number, name, told["epoch"], told["offset"], duplicate=False)
                )

        asked.add_done_callback(answered)

    def _time(self, kind: str, asked: asyncio.Future[Answer]) -> None:
        def answered(future: asyncio.Future[Answer]) -> None:
            self._answers.discard(future)
            self.latencies.note(kind, future.result().seconds)

        self._answers.add(asked)
        asked.add_done_callback(answered)

    def _took(self, message: Message) -> None:
        if "offset" not in message:
            sent = message["payload"]["sent"]
            self.latencies.note("delivery", (time.monotonic_ns() - sent) / 1e9)
