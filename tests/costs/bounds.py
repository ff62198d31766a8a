"""What one operation may cost, in counts that do not depend on the clock.

A bound is a little above what was counted when it was set. When something gets cheaper, lower its
bound; when it has to cost more, raise it here, in the commit that makes it so.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that `what` may be for one operation; `beside` is for all of them together."""

    what: str
    most: float
    beside: int = 0

    def check(self, count: int, operations: int, made_of: Counter[str] | None = None) -> None:
        """Raises AssertionError, which tells what the count is made of, when there are too many."""
        allowed = self.most * operations + self.beside
        parts = [f"{number:,} × {name}" for name, number in (made_of or Counter()).most_common()]
        assert count <= allowed, (
            f"{self.what}: {count / operations:,.2f}, which is {count:,} in all. "
            f"At most {self.most:g} each and {self.beside} beside, {allowed:,.0f} in all, "
            f"are allowed by {self.what!r} in tests/costs/bounds.py. "
            f"Counted: {', '.join(parts) or count}"
        )


# System calls. Besides, a server sweeps twice a second, writes to the database which sessions were
# used, and has threads that wake the loop: some 20 calls a second.

BESIDE: Final = 40

# Last: 1.00 and 1.0. The others are two turns of the loop that ask epoll, one with the message and
# one that flushes: 2.0.
FANOUT_WRITES = Bound("writes for a delivery of a fan-out", 1, BESIDE)
FANOUT_READS = Bound("reads for a message of a fan-out", 1, BESIDE)
FANOUT_OTHERS = Bound("other system calls for a message of a fan-out", 4, BESIDE)

# A burst is one segment, so it is read at once, and its 3 KB are far below the 64 KiB at which a
# tick list is written early: one write of 32 messages, or two should a read be torn. Last: 1/32.
BURST_WRITES = Bound("writes for a message of a burst", 1 / 16, BESIDE)
BURST_READS = Bound("reads for a burst", 2, BESIDE)
BURST_OTHERS = Bound("other system calls for a burst", 4, BESIDE)

# Last: 1.00, 1.00, and 0.005 since many are answered in a turn of the loop; one alone takes two.
PING_WRITES = Bound("writes for a ping", 1, BESIDE)
PING_READS = Bound("reads for a ping", 1, BESIDE)
PING_OTHERS = Bound("other system calls for a ping", 2, BESIDE)

# A batch is all that waits, or at least 16 messages (SMALL_BATCH), and nobody sends fewer than 16
# at once here. So of either kind there is at most one for 16 messages, whatever the timing. A
# checkpoint of the log syncs, too. Last: 1/160.
SYNCS = Bound("syncs for a durable message", 1 / 8, BESIDE)

# Nothing for each of 400 connections; the rest grows with time only. Last: 10 calls in a second.
IDLE_CALLS = Bound("system calls of an idle connection", 0, 100)
HEARTBEAT_WRITES = Bound("writes for a ping of the server", 1, BESIDE)
HEARTBEAT_READS = Bound("reads for a ping of the server", 1, BESIDE)
HEARTBEAT_OTHERS = Bound("other system calls for a ping of the server", 2, IDLE_CALLS.beside)

# Calls of functions in app/, and of others by them. The same in each run, and with Python 3.13
# within two. Last: 120, 8, 107, 52, 151.7.

RELAYED = Bound("calls for a message relayed to 4 devices", 120)
RECEIVER = Bound("calls for one more receiver of a message", 8.5)
AWAY = Bound("calls for a message to a device that is away", 110)
PINGED = Bound("calls for a ping", 56)
DURABLE = Bound("calls for a durable message of 64 at once", 154)

# What a connection holds while it does nothing, with what is remembered of its token, and a fifth
# of its user's allowance. Last: 149.7 to 150.0 blocks. Beside are what the whole process holds more
# or less of from one moment to the next: 80 blocks between the least and the most that were seen,
# with 500 connections, where one block more for each would be 500. Two are the socket's object: it
# is accepted by us, so that it counts from then on, and the event loop keeps what it was given. The
# two tasks are aiohttp's, of its connection and of its request.

BLOCKS = Bound("blocks of memory for an idle connection", 150, 100)
TASKS = Bound("tasks for an idle connection", 2)
# A sweep may be between two of its sleeps; 50 connections would have 50.
TIMERS = Bound("timers for an idle connection", 0, 5)
