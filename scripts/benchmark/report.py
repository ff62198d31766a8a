"""The tables that are printed, and the same figures as JSON."""

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.benchmark.measure import BUSY, Figures
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
    """How fast rows come to disk; `batch` is the number of rows in a commit.

    `to_ceiling` is the rate divided by that of bare SQLite with the same batch.
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
class Latencies:
    """How long messages took at a given rate; `p99_to_floor` is a ratio."""

    server: str
    messages: int
    per_second: float
    p50_us: float
    p99_us: float
    p999_us: float
    p99_to_floor: float
    server_busy: float
    load_busy: float


@dataclass(frozen=True, slots=True)
class Stalls:
    """How late the event loop ran its timers, in milliseconds."""

    step: str
    samples: int
    passwords: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Ages:
    """A server's memory, in bytes, once it has delivered so many messages.

    `to_warm` is the ratio to its memory after the first part of them.
    """

    server: str
    messages: int
    upgrades: int
    rss: float
    to_warm: float
    descriptors: int


Row = Figures | Memories | Writes | Latencies | Stalls | Ages


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario's table. `what` says what one operation is, `peer` which row ratios refer to.

    `notes` say which servers are missing, and why.
    """

    scenario: str
    what: str
    peer: str
    figures: Sequence[Row]
    notes: Sequence[str] = ()


def conditions(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what the figures depend on; `settings` are those of our server."""
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
    lines = [f"{result.scenario}: {result.what}"]
    if result.figures:
        columns = _columns(result)
        head = tuple(columns)
        rows = [tuple(write(row) for write in columns.values()) for row in result.figures]
        lines += _aligned([head, *rows])
    if any(_load_was_bottleneck(row) for row in result.figures):
        lines.append("! the load generator was the bottleneck: rate and latency are its own")
    return "\n".join([*lines, *(f"! {note}" for note in result.notes)])


def write_json(path: Path, stated: Mapping[str, str], results: Sequence[Result]) -> None:
    """Write the conditions and every figure, with each single run, to a file."""
    document = {"conditions": stated, "results": [asdict(result) for result in results]}
    text = json.dumps(_known(document), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n")


def _known(value: Any) -> Any:
    """Return the value with None in place of NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _load_was_bottleneck(row: Row) -> bool:
    if isinstance(row, Latencies):
        return row.load_busy > BUSY
    return isinstance(row, Figures) and row.load_was_bottleneck


Columns = Mapping[str, Callable[[Any], str]]


def _columns(result: Result) -> Columns:
    kind = type(result.figures[0])
    if kind is Figures:
        return _timed(result.peer)
    return _OTHERS[kind]


def _timed(peer: str) -> Columns:
    return {
        "server": lambda row: row.server,
        "CPU µs": lambda row: f"{row.cpu_us:.2f}",
        "× floor": lambda row: _ratio(row.to_floor),
        f"× {peer}": lambda row: _ratio(row.to_peer),
        "per second": lambda row: f"{row.per_second:,.0f}",
        "p50 µs": lambda row: f"{row.p50_us:,.0f}",
        "p99 µs": lambda row: f"{row.p99_us:,.0f}",
        "p99.9 µs": lambda row: f"{row.p999_us:,.0f}",
        "server busy": lambda row: f"{row.server_busy:.0%}",
        "load busy": lambda row: _load(row),
        "RSS MB": lambda row: f"{row.rss / 1e6:,.0f}",
        "operations": lambda row: f"{row.operations:,}",
    }


def _ratio(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _load(row: Figures | Latencies) -> str:
    return f"{row.load_busy:.0%}" + ("!" if _load_was_bottleneck(row) else "")


_IDLE: Columns = {
    "server": lambda row: row.server,
    "connections": lambda row: f"{row.connections:,}",
    "RSS KB each": lambda row: f"{row.rss / 1024:.1f}",
    "PSS KB each": lambda row: f"{row.pss / 1024:.1f}",
    "above bare KB": lambda row: f"{row.above_bare / 1024:+.1f}",
    "idle CPU": lambda row: f"{row.idle_busy:.1%}",
}

_WRITES: Columns = {
    "writer": lambda row: row.writer,
    "per second": lambda row: f"{row.per_second:,.0f}",
    "of ceiling": lambda row: f"{row.to_ceiling:.0%}",
    "batch": lambda row: f"{row.batch:.1f}",
    "p50 µs": lambda row: f"{row.p50_us:,.0f}",
    "p99 µs": lambda row: f"{row.p99_us:,.0f}",
    "CPU µs": lambda row: f"{row.cpu_us:,.0f}",
    "writes": lambda row: f"{row.operations:,}",
}

_LATENCIES: Columns = {
    "server": lambda row: row.server,
    "p50 µs": lambda row: f"{row.p50_us:,.0f}",
    "p99 µs": lambda row: f"{row.p99_us:,.0f}",
    "p99.9 µs": lambda row: f"{row.p999_us:,.0f}",
    "p99 × floor": lambda row: f"{row.p99_to_floor:.2f}",
    "per second": lambda row: f"{row.per_second:,.0f}",
    "server busy": lambda row: f"{row.server_busy:.0%}",
    "load busy": lambda row: _load(row),
    "messages": lambda row: f"{row.messages:,}",
}

_STALLS: Columns = {
    "step": lambda row: row.step,
    "p50 ms": lambda row: f"{row.p50_ms:.1f}",
    "p99 ms": lambda row: f"{row.p99_ms:.1f}",
    "p99.9 ms": lambda row: f"{row.p999_ms:.1f}",
    "max ms": lambda row: f"{row.max_ms:.1f}",
    "samples": lambda row: f"{row.samples:,}",
    "passwords": lambda row: f"{row.passwords:,}",
}

_AGES: Columns = {
    "server": lambda row: row.server,
    "messages": lambda row: f"{row.messages:,}",
    "upgrades": lambda row: f"{row.upgrades:,}",
    "RSS MB": lambda row: f"{row.rss / 1e6:,.1f}",
    "× warm": lambda row: f"{row.to_warm:.3f}",
    "descriptors": lambda row: f"{row.descriptors:,}",
}

_OTHERS: Mapping[type, Columns] = {
    Memories: _IDLE,
    Writes: _WRITES,
    Latencies: _LATENCIES,
    Stalls: _STALLS,
    Ages: _AGES,
}


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
