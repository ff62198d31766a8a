"""upgrade: kills a server again and again while it upgrades a database of an earlier schema."""

import argparse
import json
import random
import re
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.faults.former import DEVICES_EACH, MISSED, SCHEMA, USERS, Former, build
from scripts.faults.image import examine
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import START_SECONDS, Server

UPGRADE_SECONDS: Final = 3600
"""After so long an upgrade of any size must be done."""

MEMORY_LIMIT: Final = 300 << 20
"""Bytes that the upgrading process may take, whatever the size of the database."""

MISSES: Final = 20
"""Kills that came too late, after which the trial gives up."""

_UNITS: Final = {"MB": 10**6, "GB": 10**9}


@dataclass(slots=True)
class Measured:
    """What one upgrade took."""

    seconds: float
    log: int = 0
    memory: int = 0


@dataclass(slots=True)
class Kills:
    """Kills a server while it upgrades, and looks at what it leaves."""

    server: Server
    pristine: Path
    images: Path
    messages: int
    rng: random.Random
    done: int = 0
    missed: int = 0
    seconds: float = 0.0
    """The shortest time in which an upgrade was done."""
    upgraded: bool = False
    """Whether the last kill came after the commit."""
    faults: list[str] = field(default_factory=list)

    def strike(self) -> None:
        """Start the server, and kill it while the upgrade is under way, as far as that is known."""
        if self.upgraded:
            put_back(self.pristine, self.server.folder)
        seen = self.server.log.stat().st_size
        self.server.start()
        _wait_for(self.server, "upgrading the database", seen)
        time.sleep(self.rng.uniform(0, self.seconds))
        self.server.kill()
        if done := _told(self.server, "database upgraded", seen):
            self.seconds = min(self.seconds, done[0]["seconds"])
            self.missed += 1
            self.upgraded = True
            return
        self.done += 1
        image = examine(self.server.database, self.images)
        self.upgraded = _schema_of(self.images / self.server.database.name) != SCHEMA
        if not image.good or image.messages != self.messages:
            self.faults.append(f"kill {self.done} left {image}, not {self.messages} messages")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--size", type=_size, default=_size("200MB"), help="as 20MB or 2GB")
    parser.add_argument("--kills", type=int, default=10)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)(MB|GB)", text)
    if found is None:
        raise argparse.ArgumentTypeError("a size is written as 20MB or 2GB")
    return int(found[1]) * _UNITS[found[2]]


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Build the database, upgrade it under kills, and have the checker judge what devices get."""
    rng = random.Random(options.seed)
    journals = [folder / "journal-before", folder / "journal"]
    pristine = folder / "pristine"
    with Server(folder / "data", log=folder / "log") as server:
        former = build(server.database, options.size, journals[0], rng)
        size = server.database.stat().st_size
        shutil.copytree(server.folder, pristine)
        measured = _measure(server)
        put_back(pristine, server.folder)
        kills = Kills(
            *(server, pristine, folder / "image", former.messages, rng), seconds=measured.seconds
        )
        while kills.done < options.kills and kills.missed < MISSES:
            kills.strike()
        server.start()
        server.wait_until_healthy(UPGRADE_SECONDS)
        _come_back(server, former, journals[1], folder, rng)
        server.stop()
        faults = kills.faults + _look_at(server, former.messages + USERS)
    checked = run_checker(journals, expect=USERS * (MISSED + 1))
    if measured.memory > MEMORY_LIMIT:
        faults.append(f"the upgrade took {measured.memory >> 20} MiB of memory")
    facts = {
        "database": f"{size / 1e6:,.0f} MB, {former.messages:,} messages, of schema {SCHEMA}",
        "upgrade": f"{measured.seconds:.1f} s",
        "write-ahead log": f"{measured.log / 1e6:,.0f} MB at most",
        "memory": f"{measured.memory >> 20} MiB at most",
        "kills": f"{kills.done} during the upgrade, and {kills.missed} too late",
        "owed": f"{former.owed:,} messages",
        "ids repeated": f"{sum(map(len, former.repeatable)):,}",
    }
    return Outcome(facts, faults, checked)


def put_back(pristine: Path, folder: Path) -> None:
    """Put the database of before in its place, with its guard."""
    shutil.rmtree(folder)
    shutil.copytree(pristine, folder)


def _schema_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found)


def _measure(server: Server) -> Measured:
    """Return what an upgrade takes that nobody disturbs."""
    seen = server.log.stat().st_size if server.log.exists() else 0
    log = server.database.with_name(f"{server.database.name}-wal")
    measured = Measured(0)
    server.start()
    deadline = time.monotonic() + UPGRADE_SECONDS
    while not (told := _told(server, "database upgraded", seen)):
        measured.memory = max(measured.memory, _peak(server.pid))
        measured.log = max(measured.log, log.stat().st_size if log.exists() else 0)
        if time.monotonic() > deadline:
            raise OSError(f"the upgrade was not done in {UPGRADE_SECONDS} s")
        time.sleep(0.01)
    server.wait_until_healthy()
    measured.memory = max(measured.memory, _peak(server.pid))
    measured.seconds = told[0]["seconds"]
    server.stop()
    return measured


def _peak(pid: int) -> int:
    """Return the most memory that the process ever had, in bytes; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _told(server: Server, message: str, seen: int) -> list[dict[str, Any]]:
    """Return the lines with this message in the log, after the first `seen` bytes."""
    with server.log.open("rb") as log:
        log.seek(seen)
        lines = [line for line in log.read().splitlines() if line.endswith(b"}")]
    return [one for one in map(json.loads, lines) if one["message"] == message]


def _wait_for(server: Server, message: str, seen: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _told(server, message, seen):
        if time.monotonic() > deadline:
            raise OSError(f"the server did not log {message!r}")
        time.sleep(0.002)


def _come_back(
    server: Server, former: Former, journal: Path, folder: Path, rng: random.Random
) -> None:
    """Have every device come back, repeat some of its messages, and get all it is owed."""
    do = {
        "positions": [asdict(one) if one is not None else None for one in former.positions],
        "repeats": former.repeatable,
    }
    who = accounts(former.tokens, DEVICES_EACH)
    plan = Plan(server.port, rng.getrandbits(32), str(journal), who, do)
    with Program("scripts.faults.returning", plan, folder) as program:
        program.until("done")


def _look_at(server: Server, messages: int) -> list[str]:
    """Return what is wrong with the database, and with a start of a version before."""
    faults = [f"the server logged an error: {line[:300]}" for line in server.errors()[:5]]
    with closing(sqlite3.connect(server.database)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM messages").fetchone()
        if found != messages:
            faults.append(f"{found:,} messages are left, not {messages:,}")
        # As a version to come would leave it.
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    said = server.refuses(2)
    told = [line for line in said.splitlines() if not line.startswith("{")]
    if len(told) != 1 or "newer version" not in told[0]:
        faults.append(f"a database of a newer version was refused with {said!r}")
    return faults
