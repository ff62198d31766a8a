"""restart: a server stops and starts under thousands of clients that do as they are told."""

import argparse
import asyncio
import random
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scripts.benchmark.population import populate
from scripts.benchmark.process import allow_descriptors
from scripts.faults.outcome import Outcome
from scripts.faults.plan import Plan, accounts
from scripts.faults.program import Program
from scripts.faults.server import Server

DEVICES_EACH = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this trial."""
    parser.add_argument("--devices", type=int, default=2000)
    parser.add_argument(
        "--plain-every", type=int, default=10, help="every n-th client is not positioned; 0: none"
    )
    parser.add_argument(
        "--activated",
        action="store_true",
        help="hand the listening socket to each server, as systemd does",
    )
    parser.add_argument("--down", type=float, default=1, help="seconds between stop and start")
    parser.add_argument(
        "--restart-seconds", type=int, default=5, help="the server's setting of this name"
    )


def run(options: argparse.Namespace, folder: Path) -> Outcome:
    """Restart the server under all clients, and count refusals and the time they were away."""
    allow_descriptors(options.devices + 1000)
    users = -(-options.devices // DEVICES_EACH)
    with ExitStack() as stack:
        listener = None
        if options.activated:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        settings = {"RESTART_SECONDS": str(options.restart_seconds)}
        server = stack.enter_context(Server(folder / "data", settings, listener))
        tokens = asyncio.run(populate(server.database, users, DEVICES_EACH))[: options.devices]
        seed = random.Random(options.seed).getrandbits(32)
        do = {"plain_every": options.plain_every}
        people = accounts(tokens, DEVICES_EACH)
        plan = Plan(server.port, seed, str(folder / "journal"), people, do)
        server.start()
        server.wait_until_healthy()
        with Program("scripts.faults.restarting", plan, folder) as program:
            program.until("ready")
            program.tell("restart")
            began = time.monotonic()
            server.stop()
            stopped = time.monotonic() - began
            time.sleep(options.down)
            server.start()
            server.wait_until_healthy()
            served = time.monotonic() - began
            back = program.until("back")
        server.stop()
        errors = server.errors()
    facts = {"the stop took": f"{stopped:.1f} s, the next answer came after {served:.1f} s"}
    facts |= {kind: _told(back[kind]) for kind in ("positioned", "plain")}
    faults = [f"the server logged an error: {line[:300]}" for line in errors[:5]]
    kinds = ("positioned", "plain") if options.activated else ("positioned",)
    faults += [
        f"{missed} {kind} clients that did as they were told found no server"
        for kind in kinds
        if (missed := back[kind]["refused"] + back[kind]["turned_away"])
    ]
    return Outcome(facts, faults, checked=True)


def _told(figures: dict[str, Any]) -> str:
    return (
        f"{figures['clients']:,} clients, {figures['refused']:,} times refused, "
        f"{figures['turned_away']:,} times turned away, "
        f"away p50 {figures['p50']:.1f} s, max {figures['max']:.1f} s"
    )
