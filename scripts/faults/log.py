"""log: nobody reads the log for a minute under load, and no message is late for it."""

import argparse
import asyncio
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from scripts.benchmark.population import populate
from scripts.faults.latencies import Figures, in_words
from scripts.faults.outcome import Outcome, run_checker
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server
from scripts.faults.stalling import KINDS

DEVICES_EACH: Final = 4
SIZE: Final = 100
FEATURE: Final = "scripts.faults.talkative:talkative"

MOST_LATER: Final = 0.05
"""Seconds by which the slowest message may be later than with a log that is read."""
TOLD_SECONDS: Final = 30
"""How soon the log must tell what it dropped, once somebody reads it again."""

DROPPED: Final = "switchboard_log_lines_dropped_total"


class Reader:
    """Reads a log from a pipe and writes it to a file, but for the time of a block."""

    def __init__(self, path: Path) -> None:
        self._reading, self.writing = os.pipe()
        self._path = path
        self._open = threading.Event()
        self._open.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        """Read to the end; the server must have ended, or never does."""
        os.close(self.writing)
        self._thread.join()
        os.close(self._reading)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Read nothing inside the block."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines so far."""
        text = self._path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def _read(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while chunk := os.read(self._reading, 1 << 16):
                file.write(chunk)
                self._open.wait()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=60, help="for which nobody reads the log")
    parser.add_argument("--per-second", type=int, default=500, help="messages, every other durable")
    parser.add_argument("--lines-per-second", type=int, default=150, help="of 4 KB, in the log")
    parser.add_argument("--turns", type=int, default=1, help="with and without a reader")
    parser.add_argument("--untimed", action="store_true", help="latencies are not judged")


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Let messages flow with and without somebody who reads the log, in turn."""
    users = -(-options.devices // DEVICES_EACH)
    messages = options.seconds * options.per_second
    turns = max(1, options.turns)
    journal = folder / "journal"
    do = {
        "messages": messages,
        "per_second": options.per_second,
        "size": SIZE,
        "busy_users": 0,
        "busy_share": 0,
        "lines_per_second": options.lines_per_second,
    }
    settings = {"FEATURES": FEATURE, "LOG_LEVEL": "info", "HEARTBEAT_SECONDS": "25"}
    runs: dict[str, list[Figures]] = {"read": [], "not read": []}
    # The reader ends after the server, whose end of the pipe it waits for.
    with Reader(folder / "read") as reader, Server(folder / "data", settings) as server:
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        seed = random.Random(options.seed).getrandbits(32)
        plan = Plan(server.port, seed, str(journal), accounts(tokens, DEVICES_EACH), do)
        server.start(log_to=reader.writing)
        server.wait_until_healthy()
        with Program("scripts.faults.talking", plan, folder) as program:
            program.until("ready")
            for turn in range(turns):
                runs["read"].append(_round(program, f"{turn} read"))
                with reader.stopped():
                    runs["not read"].append(_round(program, f"{turn} not read"))
            dropped, told = _told_of(server, reader)
            program.tell("end")
            program.until("done")
        server.stop()
    checked = run_checker([journal], expect=turns * messages + users)
    facts = {"lines dropped": f"{dropped:,}, of which the log told {told:,}"}
    facts |= _facts(runs)
    return Outcome(facts, list(_faults(options, runs, dropped, told, reader.lines())), checked)


def _round(program: Program, word: str) -> Mapping[str, Any]:
    program.tell(word)
    return program.until(f"{word} measured", seconds=1800)


def _told_of(server: Server, reader: Reader) -> tuple[int, int]:
    """Return how many lines were dropped, and of how many the log tells, once it is read again."""
    deadline = time.monotonic() + TOLD_SECONDS
    while True:
        dropped = int(server.metric(DROPPED))
        notices = [line for line in reader.lines() if line["message"] == "log lines dropped"]
        told = sum(line["count"] for line in notices)
        if told == dropped or time.monotonic() > deadline:
            return dropped, told
        time.sleep(0.1)


def _slowest(figures: Sequence[Figures], kind: str) -> float:
    return median(one[f"{kind} max"] for one in figures)


def _facts(runs: Mapping[str, Sequence[Figures]]) -> dict[str, str]:
    return {
        f"{kind}, {name}{f' {turn}' if turn else ''}": (
            f"{in_words(figures, kind)}, slowest {figures[f'{kind} max'] * 1000:.1f} ms"
        )
        for kind in KINDS
        for name, some in runs.items()
        for turn, figures in enumerate(some)
    }


def _faults(
    options: argparse.Namespace,
    runs: Mapping[str, Sequence[Figures]],
    dropped: int,
    told: int,
    lines: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    if not dropped:
        yield "no line was dropped: the trial shows nothing"
    if told != dropped:
        yield f"the log tells of {told} lines dropped, and the metrics of {dropped}"
    errors = [line for line in lines if line["level"] == "error"]
    yield from (f"the server logged an error: {str(line)[:300]}" for line in errors[:5])
    for kind in () if options.untimed else KINDS:
        later = _slowest(runs["not read"], kind) - _slowest(runs["read"], kind)
        if later > MOST_LATER:
            yield f"the slowest {kind} message was {later * 1000:.0f} ms later"
