"""A program of devices of which some stop reading while messages flow to all.

    python -m scripts.faults.stalling PLAN

`do` of the plan: `messages` (every other one durable), `per_second`, `size` (characters of a text),
`busy_users` and `busy_share` (that share of the traffic goes to the first users), `hung_each`
(devices of each of these users that read nothing). Reports `ready` and waits for `go`; reports
`sent` with the latencies of the other devices once all messages are acknowledged; after `release`
the stalled devices read again. Reports `done` when all devices have everything.
"""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from typing import Any, Final

from scripts.faults.device import Device, Message
from scripts.faults.fleet import Fleet, commands, reporting, run, say, told
from scripts.faults.household import complete_all
from scripts.faults.journal import Acknowledged, Sent
from scripts.faults.latencies import Latencies
from scripts.faults.text import TYPE, payload

KINDS: Final = ("durable", "ephemeral")
"""The messages of the traffic."""

TICK_SECONDS: Final = 0.005


class Speaker:
    """Writes a device's messages when told to, and notes which were acknowledged."""

    def __init__(self, device: Device, traffic: "Traffic") -> None:
        self.device = device
        self._traffic = traffic
        self._written = 0
        self._unanswered: dict[str, Message] = {}

    def speak(self, size: int, *, durable: bool) -> None:
        """Send one message to all devices of the user."""
        device, number = self.device, self.device.account.number
        self._written += 1
        name = f"{number}s{self._written}"
        content = payload(name, size) | {"sent": time.monotonic_ns()}
        body: dict[str, Any] = {"to": "user", "type": TYPE, "payload": content}
        message: Message = {"type": "device.send", "payload": body}
        if durable:
            body |= {"store": "log", "message_id": name}
            message["id"] = name
            self._unanswered[name] = message
            device.journal.write(Sent(number, name, "user"))
        device.say(message)

    def connected(self) -> None:
        """Send again the messages that have no answer."""
        for name, message in self._unanswered.items():
            self.device.journal.write(Sent(self.device.account.number, name, "user"))
            self.device.say(message)

    def answered(self, message: Message) -> None:
        """Note that the message is stored."""
        name, told = message["reply_to"], message["payload"]
        if message["type"] == "error":
            raise RuntimeError(f"the server refused a message: {told}")
        del self._unanswered[name]
        number, again = self.device.account.number, told.get("duplicate", False)
        self.device.journal.write(Acknowledged(number, name, told["epoch"], told["offset"], again))
        self._traffic.answered()


class Traffic:
    """Has devices send at an even rate."""

    def __init__(self, fleet: Fleet, hung: Sequence[Device]) -> None:
        self.sent = 0
        self._do = fleet.plan.do
        self._rng = random.Random(fleet.rng.random())
        self._waiting = 0
        self._quiet = asyncio.Event()
        speakers = {
            user: [Speaker(device, self) for device in devices if device not in hung]
            for user, devices in fleet.users.items()
        }
        for theirs in speakers.values():
            for speaker in theirs:
                speaker.device.author = speaker
        ordered = [speakers[user] for user in sorted(speakers)]
        self._busy = ordered[: self._do["busy_users"]]
        self._others = ordered[self._do["busy_users"] :] or self._busy

    async def flow(self) -> None:
        """Send all messages once more, and wait for the answers."""
        began, before = time.monotonic(), self.sent
        while (sent := self.sent - before) < self._do["messages"]:
            due = (time.monotonic() - began) * self._do["per_second"]
            for _ in range(sent, math.ceil(min(due, self._do["messages"]))):
                self._one()
            await asyncio.sleep(TICK_SECONDS)
        while self._waiting:
            self._quiet.clear()
            await self._quiet.wait()

    def answered(self) -> None:
        """Note that one more durable message is acknowledged."""
        self._waiting -= 1
        self._quiet.set()

    def _one(self) -> None:
        self.sent += 1
        durable = self.sent % 2 == 0
        self._waiting += durable
        busy = self._rng.random() < self._do["busy_share"]
        users = self._busy if busy else self._others
        speaker = self._rng.choice(self._rng.choice(users))
        speaker.speak(self._do["size"], durable=durable)


def choose_hung(fleet: Fleet) -> list[Device]:
    """Return the devices that may stall: the last ones of each busy user."""
    users = sorted(fleet.users)[: fleet.plan.do["busy_users"]]
    each = fleet.plan.do["hung_each"]
    return [
        device for user in users for device in fleet.users[user][len(fleet.users[user]) - each :]
    ]


def stall(devices: Sequence[Device], stalled: bool) -> None:
    """Have the devices stop reading from their sockets, or read again."""
    for device in devices:
        if device.link is not None:
            device.link.stall(stalled)


async def flow(fleet: Fleet) -> None:
    """Stall some devices, let messages flow, and have all catch up."""
    # The same devices are measured whether or not the others stall.
    apart = choose_hung(fleet)
    hung = apart if fleet.plan.do["stall"] else []
    latencies = Latencies(*KINDS)

    def took(message: Message) -> None:
        sent = message["payload"].get("sent")
        if sent is not None:
            kind = "durable" if "offset" in message else "ephemeral"
            latencies.note(kind, (time.monotonic_ns() - sent) / 1e9)

    for device in fleet.devices:
        if device not in apart:
            device.took = took
    traffic = Traffic(fleet, apart)
    await fleet.join()
    say("ready")
    orders = await commands()
    await told(orders, "go")
    stall(hung, True)
    async with reporting("sending", lambda: traffic.sent):
        await traffic.flow()
    say("sent", **latencies.figures())
    await told(orders, "release")
    stall(hung, False)
    await complete_all(fleet)
    say("done")


if __name__ == "__main__":
    run(flow)
