"""Questions of devices: each is a message with an id, and must have exactly one answer."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from scripts.faults.device import Device, Message

LOST: Final = "lost"
"""The outcome of a question whose connection ended first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What answered a question: the type of the message, or the code of the error."""

    outcome: str
    seconds: float
    payload: Any = None


class Tally:
    """How the questions of all devices were answered."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        """Of each outcome, as `hang.forever: timed_out`, how many there were."""
        self.surplus = 0
        """Answers to what was not asked, or had its answer already."""


class Asker:
    """Asks the questions of a device, and times their answers."""

    def __init__(self, device: Device, tally: Tally) -> None:
        self.device = device
        self._tally = tally
        self._asked = 0
        self._open: dict[str, tuple[str, float, asyncio.Future[Answer]]] = {}
        device.author = self

    def next_id(self) -> str:
        """Return the id of the next question."""
        return f"{self.device.account.number}q{self._asked + 1}"

    def ask(self, message: Message) -> asyncio.Future[Answer]:
        """Send a message, which gets `next_id`; the future has its answer."""
        name = self.next_id()
        self._asked += 1
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[name] = (message["type"], time.monotonic(), answer)
        self.device.say(message | {"id": name})
        return answer

    def connected(self) -> None:
        """Give up what was asked on an earlier connection."""
        for name in list(self._open):
            self._end(name, LOST)

    def answered(self, message: Message) -> None:
        """Note the answer."""
        name: str = message["reply_to"]
        payload: Any = message.get("payload")
        if name not in self._open:
            self._tally.surplus += 1
        elif message["type"] == "error":
            self._end(name, payload["code"])
        else:
            self._end(name, message["type"], payload)

    def _end(self, name: str, outcome: str, payload: Any = None) -> None:
        type_, asked, answer = self._open.pop(name)
        self._tally.outcomes[f"{type_}: {outcome}"] += 1
        answer.set_result(Answer(outcome, time.monotonic() - asked, payload))
