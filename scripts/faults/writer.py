"""Writes one device's messages, a few at a time, each until it is acknowledged or given up."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scripts.faults.device import Device, Message
from scripts.faults.journal import Acknowledged, Refused, Sent, To
from scripts.faults.text import TYPE, payload

SIZES: Final = (5, 40, 90, 90, 200, 600)
"""Characters of a text; now and then one is as long as LARGE, more than a page of the database."""

LARGE: Final = 9000
LARGE_SHARE: Final = 0.005

RETRY_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Habits:
    """How devices write."""

    window: int = 4
    """Messages of one device that wait for an answer at a time."""
    repeats: int = 0
    """Sends every message again from 1 to so many times; 0: only when its answer is missing."""
    nameless_share: float = 0.05
    """Share of the messages without a message_id, which cannot be repeated."""
    abandoned_share: float = 0.1
    """Share of the unanswered messages that are given up when a connection is lost."""
    to: str = ""
    """Where all messages go; empty: to the user, the others, and single devices."""
    pause: float = 0
    """Seconds from an answer to the next message, so that writing lasts."""


@dataclass(slots=True)
class Draft:
    """A message that is not finished."""

    name: str
    to: To
    body: dict[str, Any]
    repeats: int
    last: bool

    @property
    def named(self) -> bool:
        """Whether it may be sent again."""
        return "message_id" in self.body


class Writer:
    """Writes for a device until `count` messages are acknowledged.

    `write_last` then writes the last message of the user.
    """

    def __init__(
        self,
        device: Device,
        colleagues: Sequence[int],
        count: int,
        habits: Habits,
        rng: random.Random,
    ) -> None:
        self.answers = 0
        """How many messages were acknowledged, repeats not counted."""
        self.newest = 0
        """The highest acknowledged offset."""
        self.last_offset: int | None = None
        self.progressed: Callable[[], None] = lambda: None
        """Called after each answer, and after a message was given up."""
        self._device = device
        self._colleagues = colleagues
        self._left = count
        self._habits = habits
        self._rng = rng
        self._written = 0
        self._pending: dict[str, Draft] = {}
        self._again: list[Draft] = []
        self._repeating: dict[str, Draft] = {}
        self._begun = False
        self._replaces = True
        """Whether it writes another message for each that it gives up."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to write or to wait for."""
        return not (self._left or self._pending or self._again or self._repeating)

    def begin(self) -> None:
        """Write from now on."""
        self._begun = True
        self._fill()

    def write_no_more(self) -> None:
        """Write nothing new; what waits for an answer still gets it."""
        self._left = 0
        self._replaces = False

    def repeat(self, name: str, size: int) -> None:
        """Send once more, after `begin`, a message to the user that an earlier program sent."""
        self._again.append(Draft(name, "user", _body(name, "user", size, named=True), 1, False))

    def write_last(self) -> None:
        """Write one more message to all devices of the user, which is never given up."""
        self._start(self._draft("user", last=True))

    def connected(self) -> None:
        """Send again, in order, the messages without an answer, or give them up."""
        self._again += [draft for draft in self._repeating.values() if draft.repeats]
        self._repeating.clear()
        for draft in list(self._pending.values()):
            if draft.last or (draft.named and self._rng.random() > self._habits.abandoned_share):
                self._send(draft)
            else:
                del self._pending[draft.name]
                self._left += self._replaces
        self._fill()
        self.progressed()

    def answered(self, message: Message) -> None:
        """Note the answer and go on."""
        name, told = message["reply_to"], message["payload"]
        number = self._device.account.number
        if message["type"] == "error":
            self._device.journal.write(Refused(number, name, told["code"]))
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry, name)
            return
        duplicate = told.get("duplicate", False)
        self._device.journal.write(
            Acknowledged(number, name, told["epoch"], told["offset"], duplicate)
        )
        self._acknowledged(name, told["offset"])
        if self._habits.pause:
            asyncio.get_running_loop().call_later(self._habits.pause, self._fill)
        else:
            self._fill()
        self.progressed()

    def _acknowledged(self, name: str, offset: int) -> None:
        self.newest = max(self.newest, offset)
        if draft := self._pending.pop(name, None):
            self.answers += 1
            if draft.last:
                self.last_offset = offset
        draft = draft or self._repeating.pop(name, None)
        if draft and draft.repeats:
            self._again.append(draft)

    def _retry(self, name: str) -> None:
        if name in self._pending:
            self._send(self._pending[name])

    def _fill(self) -> None:
        while self._begun and len(self._pending) + len(self._repeating) < self._habits.window:
            if self._again and (not self._left or self._rng.random() < 0.5):
                self._repeat(self._again.pop(self._rng.randrange(len(self._again))))
            elif self._left:
                self._left -= 1
                self._start(self._draft(self._target()))
            else:
                return

    def _repeat(self, draft: Draft) -> None:
        draft.repeats -= 1
        self._repeating[draft.name] = draft
        self._send(draft)

    def _start(self, draft: Draft) -> None:
        self._pending[draft.name] = draft
        self._send(draft)
        if draft.repeats and self._rng.random() < 0.3:
            # The repeat goes out while the first is in flight.
            draft.repeats -= 1
            self._send(draft)

    def _send(self, draft: Draft) -> None:
        device = self._device
        device.journal.write(Sent(device.account.number, draft.name, draft.to))
        device.say({"type": "device.send", "payload": draft.body, "id": draft.name})

    def _target(self) -> To:
        if self._habits.to:
            return self._habits.to
        chance = self._rng.random()
        if chance < 0.5:
            return "user"
        return "others" if chance < 0.8 else self._rng.choice(self._colleagues)

    def _draft(self, to: To, *, last: bool = False) -> Draft:
        habits, rng = self._habits, self._rng
        self._written += 1
        name = f"{self._device.account.number}.{self._written}"
        size = LARGE if rng.random() < LARGE_SHARE else rng.choice(SIZES)
        named = last or rng.random() >= habits.nameless_share
        repeats = rng.randint(1, habits.repeats) if named and habits.repeats else 0
        return Draft(name, to, _body(name, to, size, named=named), repeats, last)


def _body(name: str, to: To, size: int, *, named: bool) -> dict[str, Any]:
    body = {"to": to, "type": TYPE, "payload": payload(name, size), "store": "log"}
    return {**body, "message_id": name} if named else body
