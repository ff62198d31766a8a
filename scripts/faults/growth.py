"""growth: one user does, at every limit, all that is stored; the database stops growing."""

import argparse
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.settings import OPTIONS
from scripts.faults.outcome import Outcome
from scripts.faults.plan import Plan
from scripts.faults.program import Program, ProgramFailed
from scripts.faults.server import ROOT, SETTINGS, Server

HANDLE: Final = "greedy"
PASSWORD: Final = "a password for growing"  # noqa: S105

SCALE: Final = 60
"""A minute stands for an hour: what is kept at most is the 60th part of what a server keeps."""
IDS: Final = "MESSAGE_IDS_PER_USER"
KEPT: Final = ("RETENTION_ROWS", "MAX_KEYS_PER_USER", IDS)

FULL_SECONDS: Final = 60
"""After which a user has met the limit of ids."""

DEVICES: Final = 16
NEW_DEVICES: Final = DEVICES + 2
"""Of a day: those that stay connected, and so few more that a short run meets the limit."""
PER_SECOND: Final = 60
"""Durable messages of each device, which is more than any limit."""
WORKERS: Final = 2
KEYS: Final = 1000
"""Which are many times as many as there may be."""

ANSWERS: Final = ("ok", "rate_limited", "too_many_ids", "too_many_keys")
"""How messages are answered sooner or later to a user who is at every limit."""

TABLES: Final = ("messages", "message_ids", "sessions", "devices", "cursors")

MEGABYTE: Final = 1 << 20
FLAT: Final = 1.1
"""How much larger the database may be at the end than it was at half of the time."""
SLACK: Final = MEGABYTE // 2
"""Of pages that are not in use yet."""
LONGEST_LOG: Final = 32 * MEGABYTE
"""Of the write-ahead log: what the server cuts it to."""
NEED: Final = (*KEPT, "DRAIN_SECONDS", "LOG_FORMAT", "LOG_LEVEL")
LOOKS: Final = 12
UNTIMED_SECONDS: Final = 120
"""For which a limit that the user has not met yet is waited for where no time is judged."""


@dataclass(frozen=True, slots=True)
class Look:
    """What there was at one time."""

    seconds: float
    database: int
    """Bytes."""
    log: int
    """Bytes of the write-ahead log."""
    rows: Mapping[str, int]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument(
        "--seconds", type=int, default=120, help="each stands for a minute of a server's life"
    )
    parser.add_argument(
        "--untimed",
        action="store_true",
        help="do not judge by when it stops growing, and go on until the user meets every limit",
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let one user store as much as it may, and measure the files."""
    kept = {name: str(_default(name) // SCALE) for name in KEPT}
    # So that a short run meets this limit, too.
    ids = _default(IDS) // SCALE * min(options.seconds, FULL_SECONDS) // FULL_SECONDS
    kept[IDS] = str(ids)
    kept["NEW_DEVICES_PER_DAY"] = str(NEW_DEVICES)
    others = {name: str(_default(name)) for name in SETTINGS if name not in NEED}
    data = folder / "data"
    with Server(data, {**others, **kept}, program=("scripts.faults.hastened",)) as server:
        _add_user(data)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.growing", _plan(options, server, folder), folder) as user:
            user.until("ready")
            looks = [_look(server, 0)]
            print(f"after 0 s  {_in_words(looks[0])}", flush=True)
            user.tell("go")
            began = time.monotonic()
            for place in range(1, LOOKS + 1):
                time.sleep(max(0, began + options.seconds * place / LOOKS - time.monotonic()))
                looks.append(_look(server, time.monotonic() - began))
                print(f"after {looks[-1].seconds:.0f} s  {_in_words(looks[-1])}", flush=True)
            if options.untimed:
                with suppress(ProgramFailed):
                    user.until("kinds", len(ANSWERS), UNTIMED_SECONDS)
                looks.append(_look(server, time.monotonic() - began))
            user.tell("stop")
            answers: Mapping[str, int] = user.until("over")["answers"]
        server.stop()
        errors = server.errors()
    facts = {answer: f"{count:,}" for answer, count in sorted(answers.items())}
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    faults += _faults(options, looks, kept, answers)
    return Outcome(facts, faults, checked=True)


def met(answers: Iterable[str]) -> set[str]:
    """Return which of ANSWERS are among these, each written as `kind: how`."""
    return {answer.rpartition(": ")[2] for answer in answers} & {*ANSWERS}


def _default(name: str) -> Any:
    return OPTIONS[name.lower()].default


def _plan(options: argparse.Namespace, server: Server, folder: Path) -> Plan:
    do = {
        "handle": HANDLE,
        "password": PASSWORD,
        "devices": DEVICES,
        "per_second": PER_SECOND,
        "keys": KEYS,
        "workers": WORKERS,
    }
    return Plan(server.port, options.seed, str(folder / "journal"), [], do)


def _add_user(data: Path) -> None:
    command = [sys.executable, "-m", "app", "users", "add", HANDLE, "--password-stdin"]
    subprocess.run(
        [*command, "--data-dir", str(data)],
        cwd=ROOT,
        input=f"{PASSWORD}\n",
        text=True,
        check=True,
        capture_output=True,
    )


def _look(server: Server, seconds: float) -> Look:
    database, log = server.database, server.database.with_name(f"{server.database.name}-wal")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in TABLES
        }
    return Look(seconds, database.stat().st_size, log.stat().st_size, rows)


def _in_words(look: Look) -> str:
    rows = ", ".join(f"{count:,} {table}" for table, count in look.rows.items())
    return f"{look.database / MEGABYTE:.2f} MB, log {look.log / MEGABYTE:.2f} MB; {rows}"


def _faults(
    options: argparse.Namespace,
    looks: Sequence[Look],
    kept: Mapping[str, str],
    answers: Mapping[str, int],
) -> Iterator[str]:
    last, half = looks[-1], looks[len(looks) // 2]
    if last.database > half.database * FLAT + SLACK and not options.untimed:
        yield f"the file grew from {half.database:,} to {last.database:,} bytes in the second half"
    if (longest := max(look.log for look in looks)) > LONGEST_LOG:
        yield f"the write-ahead log grew to {longest:,} bytes"
    most = {"message_ids": int(kept[IDS]), "devices": NEW_DEVICES}
    for table, bound in most.items():
        if last.rows[table] > bound:
            yield f"{last.rows[table]:,} rows in {table}, more than {bound:,}"
    for what in {*ANSWERS} - met(answers):
        yield f"nothing was answered with {what}: the trial shows nothing"
    if "sign-in of a new device: 429" not in answers:
        yield "no new device was refused: the trial shows nothing"
