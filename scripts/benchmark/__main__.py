"""scripts/bench: our server beside a bare aiohttp handler and a C floor, all in one run.

Each server runs in a process of its own, driven by a load generator written in C. The figure to
compare is the server's processor time (user and system) per operation, which other work on the
machine disturbs least. Servers take turns, and every figure is the median of all turns.
docs/performance.md describes the scenarios.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scripts.benchmark import (
    connect,
    durable,
    growth,
    idle,
    latency,
    memory,
    messages,
    resume,
    slow,
    stall,
    tls,
)
from scripts.benchmark.compiler import compile_program
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import LoadFailed
from scripts.benchmark.ours import SETTINGS
from scripts.benchmark.peers.catalogue import PEERS, installed
from scripts.benchmark.plot import write_plot
from scripts.benchmark.process import allow_descriptors
from scripts.benchmark.report import Result, conditions, show, show_conditions, write_json
from scripts.benchmark.servers import Tools
from scripts.benchmark.sizes import QUICK, Sizes

SCENARIOS: dict[str, Callable[[Lineup, Sizes], Sequence[Result]]] = {
    "fanout": messages.fanout,
    "others": messages.others,
    "burst": messages.burst,
    "echo": messages.echo,
    "mixed": messages.mixed,
    "slow": slow.run,
    "tls": tls.run,
    "growth": growth.run,
    "latency": latency.run,
    "connect": connect.run,
    "resume": resume.run,
    "stall": stall.run,
    "idle": idle.run,
    "memory": memory.run,
    "durable": durable.run,
}


def _peers(text: str) -> list[str]:
    if text in ("all", "none"):
        return list(PEERS) if text == "all" else []
    names = text.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        known = ", ".join(PEERS)
        raise argparse.ArgumentTypeError(f"no peer {unknown[0]!r}: all, none, or some of {known}")
    return names


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--scenario",
        action="append",
        choices=SCENARIOS,
        help="only this one (may be repeated); all of them otherwise",
    )
    parser.add_argument(
        "--peers",
        type=_peers,
        default=[],
        metavar="all|none|NAME,…",
        help=f"servers to install and measure, too: {', '.join(PEERS)}; none otherwise",
    )
    parser.add_argument("--runs", type=int, help="how many turns each server has")
    parser.add_argument("--connections", type=int, help="connections in every scenario")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the figures")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="source", help="draw these and measure nothing"
    )
    options = parser.parse_args(arguments)
    for name in ("runs", "connections"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is at least 1")
    if options.source and not options.plot:
        parser.error("--from needs --plot")
    return options


def _sizes(options: argparse.Namespace) -> Sizes:
    sizes = QUICK if options.quick else Sizes()
    if options.connections:
        sizes = sizes.with_connections(options.connections)
    if not options.runs:
        return sizes
    runs = options.runs
    return replace(sizes, runs=runs, latency_runs=runs, resume_runs=runs)


def _lineup(names: Sequence[str], folder: Path) -> Lineup:
    programs, missing = installed(names)
    for sentence in missing:
        print(f"! {sentence}", file=sys.stderr)
    tools = Tools(compile_program("floor", folder), compile_program("load", folder), folder)
    return Lineup(tools, programs, missing)


def _measure(options: argparse.Namespace) -> None:
    sizes = _sizes(options)
    allow_descriptors(sizes.most_connections + 1000)
    stated = conditions(SETTINGS)
    print(show_conditions(stated), flush=True)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as name:
        folder = Path(name)
        lineup = _lineup(options.peers, folder)
        for scenario in options.scenario or SCENARIOS:
            for result in SCENARIOS[scenario](lineup, sizes):
                results.append(result)
                print(f"\n{show(result)}", flush=True)
        file = options.json or folder / "figures.json"
        write_json(file, stated, results)
        if options.plot:
            write_plot(options.plot, file)


def main(arguments: list[str]) -> int:
    """Measure and print; returns the exit status."""
    options = _options(arguments)
    if sys.platform != "linux":
        print("scripts/bench needs Linux: epoll and /proc.", file=sys.stderr)
        return 1
    try:
        if options.source:
            write_plot(options.plot, options.source)
        else:
            _measure(options)
    except (OSError, LoadFailed) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
