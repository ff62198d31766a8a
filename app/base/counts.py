"""Counts that are more than a number: histograms, and counts whose labels form a closed set."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

MAX_PREFIXES: Final = 64
"""Type prefixes counted by name; all further ones count as `other`."""

OTHER: Final = "other"
"""Paths without a row in the table of routes: pages, files, preflights, what is nowhere."""
UNREADABLE: Final = "unreadable"
"""What is not valid HTTP, or too long to be read."""

SHOWN_CLASSES: Final = ("2xx", "4xx", "5xx")
"""Shown from the start, so that an alert sees the first one."""

ANSWER_BUCKETS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)

Removed = Literal["messages", "sessions", "jwts", "devices", "users", "of_deleted_users"]
"""What is removed; `devices` and `users` are tombstones, `of_deleted_users` all that these had."""

Work = Literal["retention", "leftovers", "past"]
"""What removes: messages by retention, rows of what has ended, and what is past its time."""


class Histogram:
    """Counts of observed seconds in fixed buckets; one thread observes, any may read."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    @property
    def sum(self) -> float:
        """Seconds observed in total."""
        return self._sum

    def cumulative(self) -> list[tuple[str, float]]:
        """Return how many observations were at or below each bound; the last count is of all."""
        total = 0
        rows: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return rows


class PrefixCounter:
    """Counts of messages by type prefix, of a bounded number of prefixes."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, prefix: str, number: int = 1, *, chosen_by_peer: bool = False) -> None:
        """Count `number` messages; a peer's prefix that is not counted yet counts as `other`."""
        counts = self._counts
        if prefix not in counts and (chosen_by_peer or len(counts) >= MAX_PREFIXES):
            prefix = "other"
        counts[prefix] = counts.get(prefix, 0) + number

    def items(self) -> Iterable[tuple[str, int]]:
        """Return every prefix with its count."""
        return self._counts.items()


class Answers:
    """Counts answers, and how long those took that end by themselves."""

    def __init__(self) -> None:
        self._families: dict[str, str] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Histogram] = {}
        self.know({OTHER: OTHER, UNREADABLE: UNREADABLE})

    def know(self, families: Mapping[str, str]) -> None:
        """Count these routes under these families, from now on."""
        self._families |= families
        for family in families.values():
            self._seconds.setdefault(family, Histogram(ANSWER_BUCKETS))
            for status in SHOWN_CLASSES:
                self._counts[family, status] += 0

    def add(self, route: str, status: int, seconds: float | None) -> None:
        """Count an answer of the route; `seconds` is None for one that lasts as its peer likes."""
        family = self._families.get(route, OTHER)
        self._counts[family, f"{status // 100}xx"] += 1
        if seconds is not None:
            self._seconds[family].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield what the metrics show of it."""
        counts = CounterMetricFamily(
            "switchboard_http_answers", "HTTP answers.", labels=["family", "class"]
        )
        for labels, number in self._counts.items():
            counts.add_metric(labels, number)
        yield counts
        seconds = HistogramMetricFamily(
            "switchboard_http_answer_seconds",
            "From a request to its answer, but for WebSockets.",
            labels=["family"],
        )
        for family, histogram in self._seconds.items():
            seconds.add_metric([family], histogram.cumulative(), histogram.sum)
        yield seconds


class Removals:
    """What was removed in the background, when that last came to its end, and how long it took.

    Work that fails leaves its last end as it is, so that monitoring sees how long none succeeded.
    `calendar` returns seconds since 1970, `clock` those of a steady clock.
    """

    def __init__(
        self,
        calendar: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calendar = calendar
        self._clock = clock
        self._rows: Counter[str] = Counter()
        self._ends: Final = dict.fromkeys(get_args(Work), 0.0)
        self._took: Final = dict.fromkeys(get_args(Work), 0.0)

    def add(self, kind: Removed, rows: int) -> None:
        """Count rows that were removed."""
        self._rows[kind] += rows

    @contextmanager
    def run(self, work: Work) -> Iterator[None]:
        """Note the end and the duration of the work inside the block, unless it fails."""
        began = self._clock()
        yield
        self._took[work] = self._clock() - began
        self._ends[work] = self._calendar()

    def collect(self) -> Iterator[Metric]:
        """Yield what the metrics show of it."""
        rows = CounterMetricFamily(
            "switchboard_removed", "Rows removed by and by, or by `prune`.", labels=["kind"]
        )
        for kind in get_args(Removed):
            rows.add_metric([kind], self._rows[kind])
        yield rows
        yield _gauge(
            "switchboard_removal_last_timestamp_seconds",
            "When the work last came to its end; 0 before the first time.",
            self._ends,
        )
        yield _gauge("switchboard_removal_last_seconds", "How long it took then.", self._took)


def _gauge(name: str, description: str, values: dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=["work"])
    for work, value in values.items():
        family.add_metric([work], value)
    return family
