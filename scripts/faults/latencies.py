"""How long messages took: noted by a program of devices, compared by its trial."""

from array import array
from collections.abc import Iterable, Mapping
from statistics import median

Figures = Mapping[str, float]
"""Of each kind of message its count, and quantiles in seconds."""


class Latencies:
    """Seconds that messages took, by their kind."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = {kind: array("d") for kind in kinds}

    def note(self, kind: str, seconds: float) -> None:
        """Note that a message took so long."""
        self._kinds[kind].append(seconds)

    def figures(self) -> dict[str, float]:
        """Return the count and quantiles of each kind."""
        made: dict[str, float] = {}
        for kind, taken in self._kinds.items():
            ordered = sorted(taken)
            made[f"{kind} count"] = len(ordered)
            for name, quantile in (("p50", 0.5), ("p99", 0.99)):
                made[f"{kind} {name}"] = ordered[int(len(ordered) * quantile)] if ordered else 0
            made[f"{kind} max"] = ordered[-1] if ordered else 0
        return made


def in_words(figures: Figures, kind: str) -> str:
    """Return quantiles and the count of a kind of message for a reader."""
    p50, p99 = (figures[f"{kind} {quantile}"] * 1000 for quantile in ("p50", "p99"))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {figures[f'{kind} count']:,.0f}"


def times_as_long(kind: str, judged: Iterable[Figures], beside: Iterable[Figures]) -> float:
    """Return by which factor the p99 of a kind is longer in the judged runs than in the others.

    It compares medians: another program's busy second would spoil a single run.
    """
    ours, theirs = (median(run[f"{kind} p99"] for run in runs) for runs in (judged, beside))
    return ours / theirs
