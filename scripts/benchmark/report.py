"""The tables that are printed, and the same figures as JSON."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from scripts.benchmark.measure import Figures
from scripts.benchmark.process import machine

PACKAGES = ("aiohttp", "uvloop", "orjson", "SQLAlchemy", "cryptography")


@dataclass(frozen=True, slots=True)
class Memories:
    """What a server's idle connections cost; memory in bytes per connection."""

    server: str
    connections: int
    rss: float
    pss: float
    above_bare: float
    idle_busy: float


@dataclass(frozen=True, slots=True)
class Writes:
    """How fast rows come to disk: so many at once, of which a commit has `batch`.

    `to_ceiling` is the rate as a share of the bare loop's with the same batch.
    """

    writer: str
    operations: int
    batch: float
    per_second: float
    to_ceiling: float
    p50_us: float
    p99_us: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario's outcome; `what` says what one operation is, `peer` what ratios are made to."""

    scenario: str
    what: str
    peer: str
    figures: Sequence[Figures | Memories | Writes]


def conditions(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what the figures depend on; `settings` are those that our server ran with."""
    versions = " · ".join(f"{name} {version(name)}" for name in PACKAGES)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        **machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": versions,
        "ours runs with": " ".join(f"{name}={value}" for name, value in settings.items()),
    }


def show_conditions(stated: Mapping[str, str]) -> str:
    """Return the conditions as lines."""
    width = max(map(len, stated))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in stated.items())


def show(result: Result) -> str:
    """Return the scenario's table."""
    timed = [row for row in result.figures if isinstance(row, Figures)]
    idle = [row for row in result.figures if isinstance(row, Memories)]
    writes = [row for row in result.figures if isinstance(row, Writes)]
    lines = [f"{result.scenario}: {result.what}"]
    if timed:
        lines += _aligned(_timed(timed, result.peer))
    else:
        lines += _aligned(_writes(writes) if writes else _idle(idle))
    if any(row.load_was_bottleneck for row in timed):
        lines.append("! the load generator was the bottleneck: rate and latency are its own")
    return "\n".join(lines)


def write_json(path: Path, stated: Mapping[str, str], results: Sequence[Result]) -> None:
    """Write the conditions and every figure, with each single run, to a file."""
    document = {"conditions": stated, "results": [asdict(result) for result in results]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _timed(rows: Sequence[Figures], peer: str) -> list[tuple[str, ...]]:
    head = ("server", "CPU µs", "× floor", f"× {peer}", "per second", "p50 µs", "p99 µs")
    table: list[tuple[str, ...]] = [(*head, "server busy", "load busy", "operations")]
    table += [
        (
            row.server,
            f"{row.cpu_us:.2f}",
            f"{row.to_floor:.2f}",
            f"{row.to_peer:.2f}",
            f"{row.per_second:,.0f}",
            f"{row.p50_us:,.0f}",
            f"{row.p99_us:,.0f}",
            f"{row.server_busy:.0%}",
            f"{row.load_busy:.0%}" + ("!" if row.load_was_bottleneck else ""),
            f"{row.operations:,}",
        )
        for row in rows
    ]
    return table


def _idle(rows: Sequence[Memories]) -> list[tuple[str, ...]]:
    head = ("server", "connections", "RSS KB each", "PSS KB each", "above bare KB", "idle CPU")
    table: list[tuple[str, ...]] = [head]
    table += [
        (
            row.server,
            f"{row.connections:,}",
            f"{row.rss / 1024:.1f}",
            f"{row.pss / 1024:.1f}",
            f"{row.above_bare / 1024:+.1f}",
            f"{row.idle_busy:.1%}",
        )
        for row in rows
    ]
    return table


def _writes(rows: Sequence[Writes]) -> list[tuple[str, ...]]:
    head = ("writer", "per second", "of ceiling", "batch", "p50 µs", "p99 µs", "CPU µs", "writes")
    table: list[tuple[str, ...]] = [head]
    table += [
        (
            row.writer,
            f"{row.per_second:,.0f}",
            f"{row.to_ceiling:.0%}",
            f"{row.batch:.1f}",
            f"{row.p50_us:,.0f}",
            f"{row.p99_us:,.0f}",
            f"{row.cpu_us:,.0f}",
            f"{row.operations:,}",
        )
        for row in rows
    ]
    return table


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return lines
