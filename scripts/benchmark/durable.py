"""durable: messages acknowledged once they are on disk, beside what the disk and SQLite allow."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from scripts.benchmark.asking import metrics
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import Phase
from scripts.benchmark.ours import Clients, by_header, ours
from scripts.benchmark.report import Result, Writes
from scripts.benchmark.servers import ROOT, Server
from scripts.benchmark.sizes import Sizes


def _senders(count: int) -> Clients:
    """Return senders that are each the only device of a user, so that nothing is delivered."""
    return Clients(count, 1, lambda tokens, _cookie: [by_header(token) for token in tokens])


def _stored(server: Server) -> tuple[float, float]:
    """Return how many messages the server has stored, and in how many commits."""
    values = metrics(server.port)
    appends, commits = (values[f"switchboard_{name}_total"] for name in ("appends", "commits"))
    return appends, commits


def _ours(server: Server, each: int, senders: int) -> Writes:
    appends, commits = _stored(server)
    spent = server.cpu_seconds()
    phase = server.load.play("durable", each, size=1, groups=senders)
    spent = server.cpu_seconds() - spent
    after = _stored(server)
    batch = (after[0] - appends) / (after[1] - commits)
    return _from_phase(_name(senders), phase, batch, spent)


def _name(senders: int) -> str:
    return f"ours, {senders} sender{'s' if senders > 1 else ''}"


def _from_phase(name: str, phase: Phase, batch: float, spent: float) -> Writes:
    return Writes(
        writer=name,
        operations=phase.operations,
        batch=batch,
        per_second=phase.operations / phase.seconds,
        to_ceiling=0,
        p50_us=phase.p50_us,
        p99_us=phase.p99_us,
        cpu_us=spent / phase.operations * 1e6,
    )


def _bare(folder: Path, like: Writes) -> Writes:
    """Write as many rows in batches of the same size, on the same file system."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        arguments = [str(Path(name) / "bare.db"), str(like.operations), str(like.batch)]
        done = subprocess.run(
            [sys.executable, "-m", "scripts.benchmark.bare_sqlite", *arguments],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    told = json.loads(done.stdout)
    return Writes(
        writer=f"bare SQLite, as {like.writer.removeprefix('ours, ')}",
        operations=told["rows"],
        batch=like.batch,
        per_second=told["rows"] / told["seconds"],
        to_ceiling=1,
        p50_us=told["p50"] * 1e6,
        p99_us=told["p99"] * 1e6,
        cpu_us=told["cpu_seconds"] / told["rows"] * 1e6,
    )


def _summary(runs: Sequence[Writes], ceilings: Sequence[Writes]) -> Writes:
    """Return the medians; the ratio is the median over pairs of runs measured in turn."""
    pairs = zip(runs, ceilings, strict=True)
    return Writes(
        writer=runs[0].writer,
        operations=sum(run.operations for run in runs),
        batch=median(run.batch for run in runs),
        per_second=median(run.per_second for run in runs),
        to_ceiling=median(run.per_second / ceiling.per_second for run, ceiling in pairs),
        p50_us=median(run.p50_us for run in runs),
        p99_us=median(run.p99_us for run in runs),
        cpu_us=median(run.cpu_us for run in runs),
    )


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return rate, latency and cost of a durable send, of one sender and of many."""
    many = sizes.durable_senders
    turns = {1: sizes.durable_sends_alone, many: sizes.durable_sends}
    taken: dict[int, tuple[list[Writes], list[Writes]]] = {senders: ([], []) for senders in turns}
    with ours(lineup.tools, _senders(many)) as server:
        server.load.open(0, many)
        server.load.play("durable", sizes.warm_up, size=1, groups=many)
        for _ in range(sizes.runs):
            for senders, each in turns.items():
                own = _ours(server, each, senders)
                taken[senders][0].append(own)
                taken[senders][1].append(_bare(lineup.tools.folder, own))
    figures = [
        _summary(rows, ceilings) for own, ceilings in taken.values() for rows in (ceilings, own)
    ]
    what = "messages stored and acknowledged, each sender one at a time; batch: in one commit"
    return [Result("durable", what, "bare SQLite", figures)]
