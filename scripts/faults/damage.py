"""damage: flips bits of the database and cuts its files, and cuts the power while devices write."""

import argparse
import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Final

from app.protocol.position import Position
from scripts.benchmark.population import populate
from scripts.faults import flips
from scripts.faults.checker import check
from scripts.faults.device import Device
from scripts.faults.household import Household
from scripts.faults.image import lose_power
from scripts.faults.journal import (
    Acknowledged,
    Connected,
    Finished,
    Joined,
    Journal,
    Positioned,
    Received,
    Record,
    Sent,
    read,
)
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Account, Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import ROOT, Server
from scripts.faults.writer import Habits, Writer

DEVICES_EACH: Final = 3
BACK_SECONDS: Final = 60
"""Time for all devices to come back, to catch up and to get one more message each."""

ANEW: Final = 100_000
"""Devices that come back to damage are further instances in the journals, from this number on."""

DAMAGED: Final = 3
"""The exit status of `check` for damage."""

OUTCOMES: Final = {
    "refused": "the server does not start, or answers 503",
    "reset": "devices are told `reset`",
    "checked": "everything is as it was, and `check` names the damage",
    "harmless": "everything is as it was, and `check` finds nothing",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--flips", type=int, default=100, help="flips of bits, and cuts of files")
    parser.add_argument("--images", type=int, default=200, help="losses of power under load")
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--messages", type=int, default=20_000)


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Damage copies of a database, then cut the power of a server; judge both by the journals."""
    rng = random.Random(options.seed)
    faults: list[str] = []
    began = time.monotonic()
    table = _damage(options, folder / "flips", rng, faults) if options.flips else {}
    if table:
        _show(table)
    checked = _cut_power(options, folder / "images", rng, faults)
    facts = {
        "damaged": f"{sum(map(len, _outcomes(table))):,} copies of a database",
        "losses of power": f"{options.images:,}",
        "duration": f"{time.monotonic() - began:.0f} s",
    }
    return Outcome(facts, faults, checked)


# Damage of files at rest


@dataclass(slots=True)
class Past:
    """What is known of the devices before the damage."""

    journal: Path
    accounts: Sequence[Account]
    cursors: dict[int, int]
    positions: dict[int, list[Position]] = field(default_factory=dict)

    def learn(self) -> None:
        """Read where each instance was."""
        for record in read(self.journal):
            if isinstance(record, Positioned):
                position = Position(record.epoch, record.offset)
                self.positions.setdefault(record.by, []).append(position)


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a server that matter; not its socket, which is none."""
    target.mkdir()
    for path in source.iterdir():
        if path.is_file() and path.name != "log":
            shutil.copy(path, target / path.name)


Table = dict[str, Counter[str]]
"""By kind of damage: how often each outcome was."""


def _outcomes(table: Table) -> Iterable[list[str]]:
    return (list(found.elements()) for found in table.values())


def _show(table: Table) -> None:
    width = max(map(len, table))
    print(f"\n{'':<{width}}  {'  '.join(f'{name:>8}' for name in OUTCOMES)}")
    for kind, found in table.items():
        print(f"{kind:<{width}}  {'  '.join(f'{found[name]:>8}' for name in OUTCOMES)}")
    for name, meaning in OUTCOMES.items():
        print(f"{name}: {meaning}")
    print(flush=True)


def _damage(
    options: argparse.Namespace, folder: Path, rng: random.Random, faults: list[str]
) -> Table:
    folder.mkdir()
    kinds = list(flips.KINDS)
    table: Table = {kind: Counter() for kind in kinds}
    past = _make_past(options, folder, rng)
    for number in range(options.flips):
        kind = kinds[number % len(kinds)]
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        _copy(folder / flips.KINDS[kind][0], copy)
        done = flips.damage(kind, copy, rng)
        outcome, found = _try(copy, past, rng)
        table[kind][outcome] += 1
        faults += [f"{kind}, {done}: {fault}" for fault in found]
        if found:
            _copy(copy, folder / f"fault-{number}")
    return table


def _make_past(options: argparse.Namespace, folder: Path, rng: random.Random) -> Past:
    """Have devices write, and leave the files of the server when it is killed and when it stops."""
    journal = folder / "journal"
    with Server(folder / "stopped") as server:
        tokens = asyncio.run(populate(server.database, options.users, DEVICES_EACH))
        people = accounts(tokens, DEVICES_EACH)
        do = {"messages": min(options.messages, 3000), "abandoned_share": 0}
        plan = Plan(server.port, rng.getrandbits(32), str(journal), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.writing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            program.until("done")
        # Cursors are written once a second.
        time.sleep(1.5)
        server.kill()
        _copy(server.folder, folder / "killed")
        server.start()
        server.wait_until_healthy()
        server.stop()
        with closing(sqlite3.connect(server.database)) as connection:
            rows = connection.execute('SELECT device_id, "offset" FROM cursors').fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    past = Past(journal, people, dict(rows))
    past.learn()
    return past


def _try(folder: Path, past: Past, rng: random.Random) -> tuple[str, list[str]]:
    """Start a server on damaged files, have the devices come back, and judge what they got."""
    journal = folder / "journal"
    with Server(folder) as server:
        server.start()
        try:
            server.wait_until_healthy()
        except OSError as error:
            told = "damaged" in str(error) or "newer version" in str(error)
            return "refused", [] if told else [f"it ended without a reason: {error}"]
        back = asyncio.run(_come_back(server, past, journal, rng))
        refused = not _is_ready(server)
        status = _check(folder)
        with suppress(OSError):
            server.stop()
        unforeseen = [line for line in server.errors() if '"exception"' in line]
    records = list(read(journal))
    faults = _judge(past, records, back, refused=refused)
    faults += _wrong_cursors(records, past)
    faults += [f"it logged {line[:400]}" for line in unforeseen[:2]]
    if refused:
        return "refused", faults
    if _reset(records):
        return "reset", faults
    return "harmless" if status == 0 else "checked", faults


def _judge(past: Past, records: list[Record], back: set[int], *, refused: bool) -> list[str]:
    """Have the checker judge what came of messages from before, and of those from after.

    A device that was told `reset` is owed nothing of before, and a server that refuses everything
    owes nothing yet to devices that it let not come back.
    """
    excused = _reset(records) | (set(map(_by, records)) - back if refused else set())
    old = [one for one in records if _by(one) not in excused and not _is_new(one)]
    verdicts = [check(chain(read(past.journal), old))]
    if not refused:
        # Wherever the devices were, these were sent when all were there.
        kept = (Joined, Sent, Acknowledged, Received, Finished)
        new = [one for one in records if isinstance(one, Joined | Finished) or _is_new(one)]
        verdicts.append(check(one for one in new if isinstance(one, kept)))
    unfinished = ("unfinished",) if refused else ()
    return [
        f"{fault.kind}: {fault.text}"
        for verdict in verdicts
        for fault in verdict.faults
        if fault.kind not in unfinished
    ]


def _by(record: Record) -> int:
    return int(getattr(record, "by", -1))


def _reset(records: Iterable[Record]) -> set[int]:
    return {one.by for one in records if isinstance(one, Connected) and one.outcome == "reset"}


def _is_new(record: Record) -> bool:
    """Tell whether it is about a message that was sent after the damage."""
    author = getattr(record, "message", "").partition(".")[0]
    return author.isdigit() and int(author) >= ANEW


def _wrong_cursors(records: Iterable[Record], past: Past) -> list[str]:
    """Return what is wrong with where the server put those who came without a position."""
    faults = []
    seen: set[int] = set()
    for one in records:
        if not isinstance(one, Connected) or one.by in seen:
            continue
        seen.add(one.by)
        known = past.cursors.get(past.accounts[one.by - ANEW].device, -1)
        by_cursor = one.asked is None and known >= 0 and one.outcome != "reset"
        if by_cursor and (one.outcome != "resumed" or one.offset > known):
            faults.append(f"reset: cursor {known}, told {one.outcome!r} at {one.offset}")
    return faults


def _is_ready(server: Server) -> bool:
    return server.status("/ready") == HTTPStatus.OK


def _check(folder: Path) -> int:
    command = [sys.executable, "-m", "app", "check", "--json", "--data-dir", str(folder)]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode


async def _come_back(
    server: Server, past: Past, journal_path: Path, rng: random.Random
) -> set[int]:
    """Have all devices come back, catch up and get one more message; return who caught up."""
    with Journal(journal_path) as journal:
        devices = [_device(account, past, journal, server.port, rng) for account in past.accounts]
        running = [asyncio.create_task(device.run()) for device in devices]
        try:
            async with asyncio.timeout(BACK_SECONDS):
                await _unless_refused(server, _catch_up(devices, rng))
        except TimeoutError:
            pass
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for device in devices:
            if device.link is not None:
                device.link.abort()
        return {one.account.number for one in devices if one.settled.is_set() or one.finished}


def _device(
    account: Account, past: Past, journal: Journal, port: int, rng: random.Random
) -> Device:
    again = Account(
        ANEW + account.number, account.user, account.device, account.instance, account.token
    )
    device = Device(again, journal, random.Random(rng.random()), port)
    # Some leave it to the server's cursor.
    if rng.random() < 0.7:
        device.position = rng.choice(past.positions[account.number])
    return device


async def _catch_up(devices: Sequence[Device], rng: random.Random) -> None:
    for device in devices:
        await device.settled.wait()
    households = []
    for user in {device.account.user for device in devices}:
        theirs = [device for device in devices if device.account.user == user]
        writer = Writer(theirs[0], [], 0, Habits(), random.Random(rng.random()))
        theirs[0].author = writer
        households.append(Household(theirs, [writer]))
    for household in households:
        household.progress()
    for household in households:
        await household.complete.wait()


async def _unless_refused(server: Server, work: Coroutine[None, None, None]) -> None:
    """Await the work, or give up once the server says that it refuses."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.2)
            if not task.done() and not await asyncio.to_thread(_is_ready, server):
                return
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


# Losses of power under load


def _cut_power(
    options: argparse.Namespace, folder: Path, rng: random.Random, faults: list[str]
) -> bool:
    """Cut the power again and again while devices write; tell whether the checker found nothing."""
    folder.mkdir()
    journal = folder / "journal"
    with Server(folder / "data") as server:
        tokens = asyncio.run(populate(server.database, options.users, DEVICES_EACH))
        plan = Plan(
            server.port,
            rng.getrandbits(32),
            str(journal),
            accounts(tokens, DEVICES_EACH),
            {"messages": options.messages},
        )
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.writing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            last = 0.95 * options.messages
            for point in sorted(rng.uniform(0, last) for _ in range(options.images)):
                program.until("answered", int(point))
                time.sleep(rng.uniform(0, 0.1))
                server.kill()
                lose_power(server.database, rng)
                server.start()
                server.wait_until_healthy()
            program.until("done", seconds=600)
        server.stop()
        if status := _check(server.folder):
            faults.append(f"`check` ended with {status} after the losses of power")
        faults += [f"the server logged an error: {line[:300]}" for line in server.errors()[:5]]
    return run_checker([journal])
