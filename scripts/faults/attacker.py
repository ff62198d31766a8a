"""A program that pours one flood over a server, and counts how it is limited.

    python -m scripts.faults.attacker PLAN

`do` of the plan: `flood` (its name), `share` (of its sockets; 1: all), `source` (the address that
it comes from and goes to), `query` (of those that resume). Says `ready`, waits for the command
`go`, and floods until `stop`. Says `limited` when the server limits it for the first time, `over`
with what came of it.

It is made to take little of the processor that it shares with those whom it would harm: raw
sockets, one epoll, bytes that are made before.
"""

import errno
import os
import re
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final

from scripts.benchmark.process import allow_descriptors
from scripts.faults.fleet import say
from scripts.faults.floods import FLOODS, Crowd, Flood, request
from scripts.faults.plan import Plan, read_plan

TICK_SECONDS: Final = 0.01
BACK_SECONDS: Final = 0.1
"""After which one comes back that the server has closed or refused."""
HELD_SECONDS: Final = 1.0
"""After which one is held that the server reads nothing from."""
AT_ONCE: Final = 200
"""Sockets that are opened in one tick: more than a listener's queue takes would wait a second."""
LONGEST_BURST: Final = 1.0
"""Seconds of messages that are sent at once by one that was held up."""

LIMITS: Final = frozenset(
    ("rate_limited", "busy", "too_large", "invalid_message", "too_many_ids", "too_many_keys")
)
"""Codes of errors that limit a flood."""

REFUSALS: Final = frozenset((408, 429, 503))
"""Statuses that limit a flood; to a stranger every error is one."""

_CODE: Final = re.compile(rb'"code":"([a-z_]+)"')
_CLOSE: Final = re.compile(rb"\x88[\x02-\x7d]([\x03-\x13].)[ -~]*\Z", re.DOTALL)
"""A close frame, with which all that comes ends; its reason is a short text."""
_LONGEST_CLOSE: Final = 127

_LIVE: Final = b'"live":true'
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_RESET: Final = struct.pack("ii", 1, 0)
_NO_PORT: Final = 24
"""IP_BIND_ADDRESS_NO_PORT of Linux: `connect` chooses the port, so that many sockets find one."""


@dataclass(slots=True)
class Tally:
    """What the sockets of a flood did, and how they were limited."""

    began: float = 0.0
    first: float | None = None
    """Seconds to the first limit."""
    sent: int = 0
    """Bytes."""
    opened: int = 0
    came: Counter[str] = field(default_factory=Counter)
    """Upgrades, answers and errors."""
    limits: Counter[str] = field(default_factory=Counter)

    def limited(self, how: str, count: int = 1) -> None:
        """Note that the server refused something, closed, or no longer reads."""
        self.limits[how] += count
        if self.first is None:
            self.first = time.monotonic() - self.began
            say("limited", seconds=self.first)


class Caller:
    """One socket, opened again whenever it has ended."""

    __slots__ = (
        "_asks",
        "_attacker",
        "_chunk",
        "_crowd",
        "_opening",
        "_out",
        "_socket",
        "_watched",
        "_wrote_at",
        "begun",
        "flows",
        "told",
    )

    def __init__(self, attacker: "Attacker", crowd: Crowd, opening: bytes) -> None:
        self._attacker = attacker
        self._crowd = crowd
        self._opening = opening
        self._asks = "{ws}" not in crowd.request
        chunk = crowd.message
        if crowd.piece > 1 and not crowd.per_second and chunk:
            chunk *= max(1, crowd.piece // len(chunk))
        self._chunk = chunk
        self._socket: socket.socket | None = None
        self._out = memoryview(b"")
        self._watched = 0
        self._wrote_at = 0.0
        self.flows = False
        """True once the upgrade is answered, until the end."""
        self.begun = 0.0
        """When it was."""
        self.told = 0
        """Messages since then, of one that is paced."""

    def open(self) -> None:
        """Open the socket, and write the request."""
        attacker = self._attacker
        self._socket = one = socket.socket()
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._crowd.leaves:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.flows = False
        self._out = memoryview(self._opening)
        attacker.tally.opened += 1
        one.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
        try:
            one.bind((attacker.source, 0))
            one.connect((attacker.source, attacker.port))
        except BlockingIOError:
            pass
        except OSError as error:
            self._ended(errno.errorcode.get(error.errno or 0, "error"))
            return
        self._watched = select.EPOLLIN | select.EPOLLOUT
        attacker.watch(one.fileno(), self._watched, self)

    def happened(self, events: int) -> None:
        """Read and write what can be."""
        try:
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read()
            if events & select.EPOLLOUT and self._socket is not None:
                self._write()
        except OSError as error:
            self._ended(errno.errorcode.get(error.errno or 0, "error"))

    def pace(self, now: float) -> None:
        """Send what is due by now, if this one is paced."""
        if self.flows and not self._out:
            rate = self._crowd.per_second
            due = int((now - self.begun) * rate) - self.told
            if due > 0:
                self.told += due
                self._out = memoryview(self._chunk * min(due, max(1, int(rate * LONGEST_BURST))))
                self.happened(select.EPOLLOUT)

    def look(self, now: float) -> None:
        """Note it if the server has not read for long."""
        if self.flows and self._out and now - self._wrote_at >= HELD_SECONDS:
            self._attacker.tally.limited("held")
            self._wrote_at = now

    def close(self) -> None:
        """End it without a word."""
        if self._socket is not None:
            self._attacker.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
        self.flows = False

    def _write(self) -> None:
        piece = self._out[: self._crowd.piece] if self.flows else self._out
        try:
            sent = self._socket.send(piece) if piece and self._socket else 0
        except BlockingIOError:
            self._want(select.EPOLLIN | select.EPOLLOUT)
            return
        self._wrote_at = time.monotonic()
        self._attacker.tally.sent += sent
        self._out = self._out[sent:]
        if not self._out:
            self._all_written()
        if self._socket is not None:
            self._want(select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def _all_written(self) -> None:
        if not self.flows and self._crowd.leaves == "asked":
            self._leave()
        elif self.flows and self._chunk and not self._crowd.per_second:
            self._out = memoryview(self._chunk)

    def _want(self, events: int) -> None:
        if self.flows and not self._crowd.reads:
            events &= ~select.EPOLLIN
        if events != self._watched and self._socket is not None:
            self._watched = events
            self._attacker.poll.modify(self._socket.fileno(), events)

    def _read(self) -> None:
        data = self._socket.recv(1 << 18) if self._socket else b""
        if not data:
            self._ended("end")
            return
        if not self.flows:
            self._answered(data)
        if self.flows:
            self._came(data)

    def _answered(self, data: bytes) -> None:
        """Take the answer to the request."""
        found = _STATUS.match(data)
        status = int(found[1]) if found else 0
        tally, crowd = self._attacker.tally, self._crowd
        tally.came[str(status)] += 1
        if status in REFUSALS or (status >= 400 and not crowd.known):
            tally.limited(str(status))
        if crowd.leaves == "answered":
            self._leave()
        elif self._asks and status:
            self._out = memoryview(self._opening)
            self._write()
        elif status == 101:
            self.flows, self.begun, self.told = True, time.monotonic(), 0
            self._out = memoryview(crowd.first or (b"" if crowd.per_second else self._chunk))
            self._want(select.EPOLLIN | (select.EPOLLOUT if self._out else 0))
        else:
            self._ended("")

    def _came(self, data: bytes) -> None:
        """Take frames."""
        tally = self._attacker.tally
        for code in _CODE.findall(data):
            name = code.decode()
            tally.came[name] += 1
            if name in LIMITS:
                tally.limited(name)
        if found := _CLOSE.search(data, max(0, len(data) - _LONGEST_CLOSE)):
            self._ended(str(int.from_bytes(found[1], "big")))
        elif self._crowd.leaves == "live" and _LIVE in data:
            self._leave()

    def _ended(self, how: str) -> None:
        """Count how the server ended it, and come back later."""
        if how:
            self._attacker.tally.limited(how)
        self.close()
        self._attacker.come_back(self, BACK_SECONDS)

    def _leave(self) -> None:
        self.close()
        self._attacker.come_back(self, 0)


class Attacker:
    """All sockets of a flood."""

    def __init__(self, plan: Plan, flood: Flood) -> None:
        self.port = plan.port
        self.source: str = plan.do["source"]
        self.tally = Tally()
        self.poll = select.epoll()
        self._by_number: dict[int, Caller] = {}
        self._callers = list(_callers(self, plan, flood))
        self._paced = [one for one, crowd in self._callers if crowd.per_second]
        self._returning: list[tuple[float, Caller]] = [(0.0, one) for one, _ in self._callers]

    def watch(self, number: int, events: int, caller: Caller) -> None:
        """Have the caller told what happens to its socket."""
        self._by_number[number] = caller
        self.poll.register(number, events)

    def forget(self, number: int) -> None:
        """Tell of a socket no more, which is about to be closed."""
        if self._by_number.pop(number, None) is not None:
            self.poll.unregister(number)

    def come_back(self, caller: Caller, seconds: float) -> None:
        """Have the caller opened again after so many seconds."""
        self._returning.append((time.monotonic() + seconds, caller))

    def run(self) -> None:
        """Flood until a command comes."""
        self.tally.began = time.monotonic()
        self.poll.register(0, select.EPOLLIN)
        tick = looked = time.monotonic()
        while True:
            for number, events in self.poll.poll(TICK_SECONDS):
                if number == 0:
                    return
                # An earlier event may have ended it.
                if (caller := self._by_number.get(number)) is not None:
                    caller.happened(events)
            if (now := time.monotonic()) - tick >= TICK_SECONDS:
                tick = now
                self._on_tick(now)
            if now - looked >= HELD_SECONDS / 2:
                looked = now
                for caller, _ in self._callers:
                    caller.look(now)

    def close(self) -> None:
        """End all sockets."""
        for caller, _ in self._callers:
            caller.close()

    def open_now(self) -> int:
        """Return how many sockets have had their upgrade, and not ended."""
        return sum(caller.flows for caller, _ in self._callers)

    def _on_tick(self, now: float) -> None:
        due = [one for at, one in self._returning if at <= now][:AT_ONCE]
        chosen = set(due)
        self._returning = [pair for pair in self._returning if pair[1] not in chosen]
        for caller in due:
            caller.open()
        for caller in self._paced:
            caller.pace(now)


def _callers(attacker: Attacker, plan: Plan, flood: Flood) -> Iterator[tuple[Caller, Crowd]]:
    accounts = cycle(plan.accounts)
    share: float = plan.do["share"]
    number = 0
    for crowd in flood.crowds:
        query = plan.do["query"] if crowd.leaves == "live" else ""
        for _ in range(max(1, round(crowd.sockets * share))):
            opening = request(crowd, next(accounts), number, query)
            yield Caller(attacker, crowd, opening), crowd
            number += 1


def _said(attacker: Attacker, seconds: float) -> Mapping[str, Any]:
    tally = attacker.tally
    return {
        "seconds": seconds,
        "first": tally.first,
        "sent": tally.sent,
        "opened": tally.opened,
        "open": attacker.open_now(),
        "came": tally.came,
        "limits": tally.limits,
    }


def main() -> None:
    """Flood as the plan says."""
    plan = read_plan()
    flood = FLOODS[plan.do["flood"]]
    allow_descriptors(flood.sockets + 100)
    if os.geteuid() != 0:
        # Only root may favour the others.
        os.nice(19)
    attacker = Attacker(plan, flood)
    say("ready")
    if sys.stdin.readline().strip() != "go":
        return
    attacker.run()
    said = _said(attacker, time.monotonic() - attacker.tally.began)
    attacker.close()
    say("over", **said)


if __name__ == "__main__":
    main()
