"""scripts/bench: our server beside a bare aiohttp handler and a C floor, all in one run.

Each server runs in a process of its own and is driven by a load generator written in C. What is
compared is the server's processor time (user and system) per operation: the machine's other work
disturbs it least. Servers take turns, and every figure is the median of all turns.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scripts.benchmark import connect, durable, echo, fanout, idle
from scripts.benchmark.compiler import compile_program
from scripts.benchmark.load import LoadFailed
from scripts.benchmark.ours import SETTINGS
from scripts.benchmark.process import allow_descriptors
from scripts.benchmark.report import Result, conditions, show, show_conditions, write_json
from scripts.benchmark.servers import Tools
from scripts.benchmark.sizes import QUICK, Sizes

SCENARIOS: dict[str, Callable[[Tools, Sizes], Result]] = {
    "fanout": fanout.run,
    "echo": echo.run,
    "connect": connect.run,
    "idle": idle.run,
    "durable": durable.run,
}


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--scenario",
        action="append",
        choices=SCENARIOS,
        help="only this one (may be repeated); all of them otherwise",
    )
    parser.add_argument("--runs", type=int, help="how many turns each server has")
    parser.add_argument("--connections", type=int, help="connections in every scenario")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args(arguments)
    for name in ("runs", "connections"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is at least 1")
    return options


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    if options.connections:
        sizes = sizes.with_connections(options.connections)
    return replace(sizes, runs=options.runs) if options.runs else sizes


def _measure(options: argparse.Namespace) -> None:
    sizes = _sizes(options)
    allow_descriptors(sizes.idle_connections + 1000)
    stated = conditions(SETTINGS)
    print(show_conditions(stated), flush=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name:
        folder = Path(name)
        tools = Tools(compile_program("floor", folder), compile_program("load", folder), folder)
        for scenario in options.scenario or SCENARIOS:
            results.append(SCENARIOS[scenario](tools, sizes))
            print(f"\n{show(results[-1])}", flush=True)
    if options.json:
        write_json(options.json, stated, results)


def main(arguments: list[str]) -> int:
    """Measure and print; returns the exit status."""
    options = _options(arguments)
    if sys.platform != "linux":
        print("scripts/bench needs Linux: epoll and /proc.", file=sys.stderr)
        return 1
    try:
        _measure(options)
    except (OSError, LoadFailed) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
