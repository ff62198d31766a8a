"""trace: shows by the order of the server's system calls that acknowledged means on disk."""

import argparse
import asyncio
import random
import shutil
from pathlib import Path
from typing import Final

from scripts.benchmark.population import populate
from scripts.benchmark.process import tree
from scripts.faults.calls import Calls, read_calls
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

USERS: Final = 10
DEVICES_EACH: Final = 2

TRACED: Final = "fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg"
LONGEST: Final = 1 << 20
"""Characters of a write that strace writes down: one write may have many answers."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--messages", type=int, default=10_000)


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Write messages to a server under strace, and read the system calls."""
    strace = shutil.which("strace")
    if strace is None:
        raise OSError("strace is needed (on Debian and Ubuntu: apt install strace)")
    rng = random.Random(options.seed)
    out, journal = folder / "calls", folder / "journal"
    # Paths of files and kinds of sockets (-yy), no signals, threads too, all in one file.
    under = [strace, "-f", "-qq", "-yy", "-s", str(LONGEST), "-e", f"trace={TRACED}"]
    under += ["-e", "signal=none", "-o", str(out)]
    do = {
        "messages": options.messages,
        "window": 4,
        "to": "user",
        "nameless_share": 0,
        "abandoned_share": 0,
    }
    with Server(folder / "data") as server:
        tokens = asyncio.run(populate(server.database, USERS, DEVICES_EACH))
        people = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, rng.getrandbits(32), str(journal), people, do)
        server.start(under)
        server.wait_until_healthy()
        with Program("scripts.faults.writing", plan, folder) as program:
            program.until("ready")
            program.tell("go")
            program.until("done", seconds=1800)
        server.stop(tree(server.pid)[-1])
    calls = read_calls(out)
    checked = run_checker([journal], expect=options.messages)
    return Outcome(_facts(calls), _faults(calls, options.messages), checked)


def _facts(calls: Calls) -> dict[str, str]:
    mean = len(calls.answers) / max(1, calls.syncs_with_messages)
    return {
        "answers seen": f"{len(calls.answers):,}",
        "answered before its sync": f"{len(calls.early):,}",
        "syncs of the log": f"{calls.syncs:,}, {mean:.1f} messages in each that had any",
    }


def _faults(calls: Calls, messages: int) -> list[str]:
    faults = [f"{name} was answered before it was on disk" for name in calls.early[:10]]
    if len(calls.answers) != messages:
        faults.append(f"{len(calls.answers)} answers were seen, not {messages}")
    return faults
