"""restore: puts copies of the database back at random while devices come, write and go.

Copies are made in three ways: by the command `backup` while the server runs, by `cp -a` of the
folder of a stopped server, and as a snapshot of the folder of a running one. Any of them is put
back, once or several times, also one of a history that was given up since.
"""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from app.settings import ENV_PREFIX
from app.storage.database import DATABASE_NAME
from scripts.benchmark.population import populate
from scripts.faults.image import examine, newest_offset
from scripts.faults.journal import CopyHolds, Journal
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import ROOT, Server

How = Literal["backup", "stopped folder", "snapshot"]
HOWS: Final[tuple[How, ...]] = ("backup", "stopped folder", "snapshot")

DEVICES_EACH: Final = 4

KILLED_SHARE: Final = 0.3
COMMAND_SECONDS: Final = 2.0
"""About what a command takes; a kill falls somewhere into it."""

STEP_ANSWERS: Final = (30, 400)
"""So many messages are answered before something happens again."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy, which is a file or a folder."""

    name: str
    how: How
    path: Path


@dataclass(slots=True)
class Operator:
    """Makes copies and puts them back, and tells the devices' program, which keeps the journal."""

    server: Server
    program: Program
    folder: Path
    facts: Journal
    rng: random.Random
    copies: list[Copy] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    noted: int = 0

    def wait(self) -> None:
        """Wait until some more messages were answered, and a moment."""
        self.answered += self.rng.randint(*STEP_ANSWERS)
        told = self.program.until("answered", self.answered)
        self.answered = max(self.answered, told["count"])
        time.sleep(self.rng.uniform(0, 0.1))

    def copy(self, how: How) -> None:
        """Make a copy."""
        name = str(len(self.copies))
        copy = Copy(name, how, self.folder / "copies" / name)
        if how == "stopped folder":
            self.server.stop()
        self._note(f"copying {name}")
        self._make(copy)
        self._note(f"copied {name}")
        if how == "stopped folder":
            self._start()
        database = copy.path if how == "backup" else copy.path / DATABASE_NAME
        self.facts.write(CopyHolds(name, newest_offset(database, self.folder / "look")))
        self.copies.append(copy)
        self.done[f"copied by {how}"] += 1

    def put_back(self, copy: Copy) -> None:
        """Put the copy back, after the server was stopped or killed."""
        self._end()
        self._note(f"put back {copy.name}")
        if copy.how == "backup":
            self._command("restore", str(copy.path), "--replace")
            for aside in self.server.folder.glob("*.replaced-*"):
                aside.unlink()
        else:
            for path in self._files(self.server.folder):
                path.unlink()
            for path in self._files(copy.path):
                shutil.copy2(path, self.server.folder)
        self._start()
        self.done[f"put back: {copy.how}"] += 1

    def restart(self) -> None:
        """Stop or kill the server, and start it again: a generation begins."""
        self._end()
        self._start()
        self.done["restarts"] += 1

    def _make(self, copy: Copy) -> None:
        if copy.how == "backup":
            # One that was killed may have been finished.
            self._command("backup", str(copy.path), "--overwrite")
        elif copy.how == "stopped folder":
            self._copy_folder(copy.path)
        else:
            with self.server.frozen():
                self._copy_folder(copy.path)

    def _copy_folder(self, target: Path) -> None:
        target.mkdir()
        for path in self._files(self.server.folder):
            shutil.copy2(path, target)

    def _files(self, folder: Path) -> list[Path]:
        # The log is the trial's, and a socket is no file.
        return [path for path in folder.iterdir() if path.is_file() and path != self.server.log]

    def _end(self) -> None:
        if self.rng.random() < 0.5:
            self.server.kill()
        else:
            self.server.stop()

    def _start(self) -> None:
        self.server.start()
        self.server.wait_until_healthy()

    def _note(self, line: str) -> None:
        self.noted += 1
        self.program.tell(line)
        self.program.until("noted", self.noted)

    def _command(self, *words: str) -> None:
        """Run the command, sometimes for the second time, after it was killed."""
        if self.rng.random() < KILLED_SHARE:
            with self._begun(*words) as process:
                time.sleep(self.rng.uniform(0, COMMAND_SECONDS))
                process.kill()
            self.done[f"{words[0]} killed"] += 1
        with self._begun(*words) as process:
            _, told = process.communicate()
        if process.returncode:
            raise OSError(f"{words[0]} failed: {told}")

    def _begun(self, *words: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        command = [sys.executable, "-m", "app", *words, "--data-dir", str(self.server.folder)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=ROOT, env=clean, stdout=subprocess.DEVNULL, stderr=pipe, text=True
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--copies", type=int, default=45)
    parser.add_argument("--put-backs", type=int, default=60)
    parser.add_argument("--restarts", type=int, default=15)
    parser.add_argument("--devices", type=int, default=100)


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Copy and put back at random, and have the checker judge the journals."""
    rng = random.Random(options.seed)
    (folder / "copies").mkdir()
    users = -(-options.devices // DEVICES_EACH)
    journal, facts = folder / "journal", folder / "facts"
    with Server(folder / "data") as server, Journal(facts) as noted:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        owners = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, rng.getrandbits(32), str(journal), owners, {})
        server.start()
        server.wait_until_healthy()
        began = time.monotonic()
        with Program("scripts.faults.restoring", plan, folder) as program:
            program.until("ready")
            operator = Operator(server, program, folder, noted, rng)
            for act in _acts(operator, options, rng):
                operator.wait()
                act()
            operator.wait()
            program.tell("finish")
            program.until("done")
        seconds = time.monotonic() - began
        server.stop()
        last = examine(server.database, folder / "image")
        errors = server.errors()
    shutil.rmtree(folder / "copies")
    checked = run_checker([facts, journal], checker="histories")
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    if not last.good:
        faults.append(f"the database at the end: {last.integrity}")
    counts = {name: str(count) for name, count in sorted(operator.done.items())}
    return Outcome({**counts, "duration": f"{seconds:.0f} s"}, faults, checked)


def _acts(
    operator: Operator, options: argparse.Namespace, rng: random.Random
) -> list[Callable[[], None]]:
    """Return what happens, in order: a copy of each kind first, then all at random."""

    def copy(how: How) -> Callable[[], None]:
        return lambda: operator.copy(how)

    def put_back() -> None:
        # The newest as often as all others together.
        newest = rng.random() < 0.5
        operator.put_back(operator.copies[-1] if newest else rng.choice(operator.copies))

    hows = [HOWS[place % len(HOWS)] for place in range(options.copies)]
    first, later = hows[: len(HOWS)], hows[len(HOWS) :]
    acts = [
        *map(copy, later),
        *[put_back] * options.put_backs,
        *[operator.restart] * options.restarts,
    ]
    rng.shuffle(acts)
    return [*map(copy, first), *acts]
