"""bulk: what ends or removes very many rows makes nobody wait, and survives a kill."""

import argparse
import asyncio
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from app.control import stream, users
from app.control.address import SOCKET_NAME
from app.control.calling import call_server
from app.control.command import NoArguments
from scripts.faults.outcome import Outcome
from scripts.faults.piles import PASSWORD, Piles, Sizes, pile_up
from scripts.faults.server import Server

NEW_PASSWORD: Final = "battery horse staple correct"  # noqa: S105 - as in piles

EVERY_SECONDS: Final = 0.01
"""Between two messages of the user who must not wait."""

POLL_SECONDS: Final = 1.0
"""Between two looks at the database, which are short: a long one would hold up its log."""

BESIDE_SECONDS: Final = 3.0
"""For how long the same messages are timed when nothing is removed."""

MAX_CHANGE_SECONDS: Final = 2.0
"""What ends sessions is answered within this; two passwords are hashed in it."""
MAX_WAIT_SECONDS: Final = 2.0
"""And a durable message of somebody else waits for at most this, on a machine with other work."""

GONE_SECONDS: Final = 1800.0
"""Until all is removed; the machine may be slow."""


@dataclass(slots=True)
class Messages:
    """The durable messages of a user who has nothing to do with what ends."""

    seconds: list[float] = field(default_factory=list)
    acknowledged: int = 0

    def figures(self) -> str:
        """Return how long they took, for a reader."""
        taken = sorted(self.seconds)
        if not taken:
            return "no durable message of another user meanwhile: it was too quick"
        p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
        return (
            f"{len(taken):,} durable messages of another user: p50 {p50:.1f} ms, "
            f"p99 {p99:.1f} ms, max {taken[-1] * 1000:.0f} ms"
        )


@dataclass(slots=True)
class Report:
    """What the trial found."""

    facts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    sent: int = 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what a person may choose."""
    parser.add_argument("--sessions", type=int, default=400_000, help="of each of five users")
    parser.add_argument("--old", type=int, default=1_000_000, help="messages past their age")
    parser.add_argument("--rows", type=int, default=10_000, help="messages of the deleted user")
    parser.add_argument("--keys", type=int, default=1000, help="values of the deleted user")
    parser.add_argument("--ids", type=int, default=100_000, help="message ids of the deleted user")
    parser.add_argument("--untimed", action="store_true", help="no time is judged")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Pile rows up, then have the server remove them while another user sends."""
    sizes = Sizes(options.sessions, options.old, options.rows, options.keys, options.ids)
    report = Report()
    with Server(folder / "data", {"LOG_LEVEL": "info"}) as server:
        piles = asyncio.run(pile_up(server.database, sizes, random.Random(options.seed)))
        report.facts["piled up"] = f"{sizes.sessions:,} sessions each, {sizes.old:,} old messages"
        server.start()
        server.wait_until_healthy()
        asyncio.run(_begin(server, piles, report, options))
        server.kill()
        left = _left(server.database)
        report.facts["left when it was killed"] = f"{left:,} rows of what had ended"
        server.start()
        server.wait_until_healthy()
        asyncio.run(_end(server, piles, report, options))
        server.stop()
        report.faults += [f"an error in the log: {one[:300]}" for one in server.errors()[:5]]
    _check(server.database, piles, report)
    return Outcome(report.facts, report.faults, checked=True)


async def _begin(server: Server, piles: Piles, report: Report, options: argparse.Namespace) -> None:
    """End what has very many rows, one after the other, while old messages are removed."""
    control = server.folder / SOCKET_NAME

    def of(user_id: int) -> users.OneUser:
        return users.OneUser(user=f"id={user_id}")

    changes: dict[str, Callable[[], Awaitable[Any]]] = {
        "stream reset": lambda: call_server(control, stream.RESET, NoArguments()),
        "password change": lambda: _change_password(server, piles),
        "disabling a user": lambda: call_server(control, users.DISABLE, of(piles.disabled)),
        "deleting a user": lambda: call_server(control, users.DELETE, of(piles.deleted)),
    }
    for name, change in changes.items():
        async with _sending(server, piles, report) as messages:
            await asyncio.sleep(0.2)
            began = time.monotonic()
            await change()
            took = time.monotonic() - began
            await _refused(server, piles, report, name)
            await asyncio.sleep(1)
        report.facts[name] = f"{took * 1000:.0f} ms; {messages.figures()}"
        if not options.untimed:
            if took > MAX_CHANGE_SECONDS:
                report.faults.append(f"{name} took {took:.1f} s")
            _judge(name, messages, report)


async def _end(server: Server, piles: Piles, report: Report, options: argparse.Namespace) -> None:
    """Wait until all is removed that has ended or is too old."""
    began = time.monotonic()
    async with _sending(server, piles, report) as messages:
        while _goes_on(server.database, piles):
            if time.monotonic() - began > GONE_SECONDS:
                report.faults.append("not everything was removed")
                break
            await asyncio.sleep(POLL_SECONDS)
    name = "removing all that is left"
    report.facts[name] = f"{time.monotonic() - began:.0f} s; {messages.figures()}"
    if not options.untimed:
        _judge(name, messages, report)
    async with _sending(server, piles, report) as beside:
        await asyncio.sleep(BESIDE_SECONDS)
    report.facts["beside nothing"] = beside.figures()
    await _refused(server, piles, report, ENDED[-1])


def _judge(name: str, messages: Messages, report: Report) -> None:
    longest = max(messages.seconds)
    if longest > MAX_WAIT_SECONDS:
        report.faults.append(f"{name}: another user's durable message waited {longest:.1f} s")


@asynccontextmanager
async def _sending(server: Server, piles: Piles, report: Report) -> AsyncIterator[Messages]:
    """Send durable messages to a user while the block runs."""
    messages, stop = Messages(), asyncio.Event()

    async def send(session: aiohttp.ClientSession) -> None:
        url = f"http://127.0.0.1:{server.port}/v1/messages"
        to = {"user": piles.bystander}
        body = {"to": to, "type": "note.text", "payload": 1, "store": "log"}
        while not stop.is_set():
            began = time.monotonic()
            async with session.post(url, json=body) as response:
                await response.read()
                messages.acknowledged += response.status == 200
            messages.seconds.append(time.monotonic() - began)
            await asyncio.sleep(EVERY_SECONDS)

    headers = {"Authorization": f"Bearer {piles.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        sending = asyncio.create_task(send(session))
        try:
            yield messages
        finally:
            stop.set()
            await sending
    report.sent += messages.acknowledged
    if messages.acknowledged != len(messages.seconds):
        report.faults.append("a durable message of the other user was refused")


async def _change_password(server: Server, piles: Piles) -> None:
    url = f"http://127.0.0.1:{server.port}/v1/auth/password"
    body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    headers = {"Authorization": f"Bearer {piles.keeper}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as response,
    ):
        if response.status != 204:
            raise OSError(f"the password change was answered {response.status}")


ENDED: Final = ("password change", "disabling a user", "deleting a user")


async def _refused(server: Server, piles: Piles, report: Report, after: str) -> None:
    """Check with a token of each user that exactly what has ended is refused."""
    over = ENDED[: ENDED.index(after) + 1] if after in ENDED else ()
    wanted = {piles.keeper: 200} | {piles.tokens[name]: 401 for name in over}
    for token, expected in wanted.items():
        status = await asyncio.to_thread(server.status, "/v1/auth/session", token)
        if status != expected:
            report.faults.append(f"after {after} a token was answered {status}, not {expected}")


# What the database says


_LEFT: Final = """
SELECT (SELECT count(*) FROM sessions AS s JOIN users AS u ON u.id = s.user_id
        WHERE u.deleted_at IS NOT NULL
        OR s.id <= u.sessions_over_upto AND s.id IS NOT u.kept_session_id)
    + (SELECT count(*) FROM messages AS m JOIN users AS u ON u.id = m.user_id
        WHERE u.deleted_at IS NOT NULL)
    + (SELECT count(*) FROM leftovers)
    + (SELECT count(*) FROM (SELECT 1 FROM sessions GROUP BY user_id HAVING count(*) > 100))
"""
_MESSAGES: Final = "SELECT count(*) FROM messages WHERE user_id = ?"


_GOES_ON: Final = """
SELECT EXISTS (SELECT 1 FROM leftovers) OR EXISTS (SELECT 1 FROM messages WHERE user_id = ?)
    OR (SELECT count(*) FROM (SELECT 1 FROM sessions WHERE user_id = ? LIMIT 101)) > 100
"""


def _goes_on(database: Path, piles: Piles) -> bool:
    return bool(next(_asked(database, _GOES_ON, Piles.HOARDER, piles.above)))


def _asked(database: Path, query: str, *values: Any) -> Iterator[int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        yield from connection.execute(query, values).fetchone()


def _left(database: Path) -> int:
    return next(_asked(database, _LEFT))


def _check(database: Path, piles: Piles, report: Report) -> None:
    """Check that exactly the right rows are gone."""
    sessions = "SELECT count(*) FROM sessions WHERE user_id = ?"
    counts = {
        "sessions after the password change": (sessions, piles.owner, 1),
        "sessions of the disabled user": (sessions, piles.disabled, 0),
        "sessions of the deleted user": (sessions, piles.deleted, 0),
        "sessions of the user above the limit": (sessions, piles.above, 100),
        "messages of the deleted user": (_MESSAGES, piles.deleted, 0),
        "cursors of the deleted user": (
            "SELECT count(*) FROM cursors WHERE user_id = ?",
            piles.deleted,
            0,
        ),
        "old messages": (_MESSAGES, Piles.HOARDER, 0),
        "messages of the other user": (_MESSAGES, piles.bystander, report.sent),
    }
    for name, (query, user_id, expected) in counts.items():
        found = next(_asked(database, query, user_id))
        report.facts[name] = f"{found:,}"
        if found != expected:
            report.faults.append(f"{found:,} {name}, not {expected:,}")
