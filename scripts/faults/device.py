"""A positioned device: stores its position, comes back with it, drops what is not above it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from app.protocol.position import Position
from scripts.faults.journal import (
    Connected,
    Finished,
    Joined,
    Journal,
    Left,
    Positioned,
    Received,
    Refused,
    Repeated,
)
from scripts.faults.link import Link
from scripts.faults.plan import Account
from scripts.faults.text import is_whole

ACK_SHARE: Final = 0.03
"""Share of the messages that it acknowledges at once."""

LONG_SHARE: Final = 0.3
"""Share of its returns that take long enough to miss something."""

Message = dict[str, Any]


class Author(Protocol):
    """Writes the messages of a device, and reads the answers."""

    def connected(self) -> None:
        """Go on after `connected`."""

    def answered(self, message: Message) -> None:
        """Take an `ok`, an `error` or a `pong` that has `reply_to`."""


class Silent:
    """Writes nothing."""

    def connected(self) -> None:
        """Write nothing."""

    def answered(self, message: Message) -> None:
        """Ignore the answer."""


class Device:
    """One instance of a device, over as many connections as it takes."""

    def __init__(self, account: Account, journal: Journal, rng: random.Random, port: int) -> None:
        self.account = account
        self.journal = journal
        self.position: Position | None = None
        self.settled = asyncio.Event()
        """Set while it is connected and the server has told it a position."""
        self.moved: Callable[[Device], None] = lambda device: None
        """Called after the position has changed."""
        self.took: Callable[[Message], None] = lambda message: None
        """Called with every message of a device, durable or not."""
        self.author: Author = Silent()
        self.by_cursor = False
        """Whether it comes back without a position, so that the server's cursor decides."""
        self.pause: Callable[[], Awaitable[None]] = self._pause
        """Awaited before it connects again."""
        self.finished = False
        self.link: Link | None = None
        self._rng = rng
        self._port = port
        self._came_by_cursor = False
        self._epoch = ""
        self._headers = {"Authorization": f"Bearer {account.token}"}
        journal.write(Joined(account.number, account.user, account.device, account.instance))

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            self.link = Link(self._take)
            try:
                await self.link.open(self._url(), self._headers)
                code = await self.link.ended()
                self.journal.write(Left(self.account.number, code))
            except OSError:
                pass
            self.link = None
            self.settled.clear()
            await self.pause()

    def say(self, message: Message) -> None:
        """Send the message, if there is a connection."""
        if self.link is not None:
            self.link.send(message)

    def acknowledge(self) -> None:
        """Acknowledge its position."""
        if self.position is not None:
            self.say({"type": "ack", "payload": {"offset": self.position.offset}})

    def finish(self) -> None:
        """Note in the journal that it has everything."""
        if not self.finished:
            self.finished = True
            self.journal.write(Finished(self.account.number))

    async def _pause(self) -> None:
        long = self._rng.random() < LONG_SHARE
        await asyncio.sleep(self._rng.uniform(0.01, 1.5 if long else 0.1))

    def _url(self) -> str:
        at = self.position
        self._came_by_cursor = at is None or self.by_cursor
        # `snapshot` makes a positioned client of one that has no position.
        start = "snapshot=1" if self._came_by_cursor or at is None else _named(at)
        place = f"ws://127.0.0.1:{self._port}/v1/ws"
        return f"{place}?instance={self.account.instance}&{start}"

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "connected":
                self._connected(message["payload"]["resume"])
            case "position":
                self._positioned(message["payload"])
            case "ok" | "error" | "pong":
                self._answered(message)
            case "goaway":
                pass
            case _:
                if "offset" in message:
                    self._durable(message)
                self.took(message)

    def _answered(self, message: Message) -> None:
        if "reply_to" in message:
            self.author.answered(message)
        else:
            # The answer to an `ack`, which has no id.
            self.journal.write(Refused(self.account.number, "", message["payload"]["code"]))

    def _connected(self, resume: Message) -> None:
        asked = None if self._came_by_cursor or self.position is None else self.position.offset
        self._epoch = resume["epoch"]
        number, epoch, offset = self.account.number, resume["epoch"], resume["offset"]
        outcome, head = resume["outcome"], resume["head"]
        self.journal.write(Connected(number, asked, outcome, epoch, offset, head))
        if (outcome == "reset" and offset == head) or (self.position is None and outcome != "live"):
            # After such a reset its state is the one that it would fetch now.
            self.position = Position(epoch, offset)
        self.author.connected()

    def _positioned(self, payload: Message) -> None:
        told = Position(payload["epoch"], payload["offset"])
        self._epoch = told.epoch
        own = self.position
        if own is None or not self._came_by_cursor or told.offset > own.offset:
            self.journal.write(Positioned(self.account.number, told.epoch, told.offset))
            self.position = told
        self.moved(self)
        self.settled.set()

    def _durable(self, message: Message) -> None:
        own, offset = self.position, message["offset"]
        if own is not None and offset <= own.offset:
            # The server's cursor may lie behind; then messages that it has come again.
            if not self._came_by_cursor:
                self.journal.write(Repeated(self.account.number, offset))
            return
        self.journal.write(self._received(message))
        self.position = Position(self._epoch, offset)
        if self._rng.random() < ACK_SHARE:
            self.acknowledge()
        self.moved(self)

    def _received(self, message: Message) -> Received:
        source, payload = message["from"], message["payload"]
        return Received(
            *(self.account.number, payload["message"], message["offset"]),
            *(source["device_id"], source["instance"]),
            is_whole(payload),
            message.get("replayed", False),
        )


def _named(position: Position) -> str:
    return f"epoch={position.epoch}&offset={position.offset}"
