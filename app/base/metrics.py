"""The metrics: counted by plain arithmetic, made into Prometheus' form when it asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.base.logs import lines_lost

MAX_PREFIXES: Final = 64
"""Type prefixes counted by name; all further ones count as `other`."""

LATENCY_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
HANDLER_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)


class Histogram:
    """Counts of observed seconds in fixed buckets."""

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


class Metrics(Collector):
    """All metrics of one server; a gauge is read by the function that `watch` was given."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.sockets_closed: Counter[str] = Counter()
        self.accept_failures: Counter[str] = Counter()
        self.received = PrefixCounter()
        self.sent = PrefixCounter()
        self.limited: Counter[str] = Counter()
        self.dropped = 0
        self.busy = 0
        self.handlers_running = 0
        self.messages_waiting = 0
        self.appends = 0
        self.appends_refused: Counter[str] = Counter()
        self.commits = 0
        self.damaged = 0
        self.latency = Histogram(LATENCY_BUCKETS)
        self.lag = Histogram(LAG_BUCKETS)
        self._handlers: dict[str, Histogram] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self._tallies: dict[str, tuple[str, str, Callable[[], Mapping[str, int]]]] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.registry.register(self)

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Show what `read` returns as the gauge `switchboard_NAME`."""
        self._gauges[name] = (description, read)

    def tally(
        self, name: str, description: str, label: str, read: Callable[[], Mapping[str, int]]
    ) -> None:
        """Show the counts that `read` returns, by label, as `switchboard_NAME_total`."""
        self._tallies[name] = (description, label, read)

    def handler_took(self, prefix: str, seconds: float) -> None:
        """Count a handler of a feature, which had to wait for something."""
        histogram = self._handlers.get(prefix)
        if histogram is None:
            histogram = self._handlers[prefix] = Histogram(HANDLER_BUCKETS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        for name, (description, read) in self._gauges.items():
            yield GaugeMetricFamily(f"switchboard_{name}", description, value=read())
        for name, (description, label, tally) in self._tallies.items():
            yield _labelled(name, description, label, tally())
        yield CounterMetricFamily(
            "switchboard_connections_accepted", "WebSockets accepted.", value=self.accepted
        )
        yield CounterMetricFamily(
            "switchboard_frames_dropped",
            "Ephemeral frames that a slow connection could not take.",
            value=self.dropped,
        )
        yield GaugeMetricFamily(
            "switchboard_handlers_running",
            "Handlers of features that wait for something.",
            value=self.handlers_running,
        )
        yield GaugeMetricFamily(
            "switchboard_messages_waiting",
            "Messages in line behind such a handler.",
            value=self.messages_waiting,
        )
        yield CounterMetricFamily(
            "switchboard_messages_busy",
            "Messages refused since too many were in line.",
            value=self.busy,
        )
        dropped, repeats = lines_lost()
        yield CounterMetricFamily(
            "switchboard_log_lines_dropped",
            "Lines of the log that were not written: its reader was too slow, or the disk full.",
            value=dropped,
        )
        yield CounterMetricFamily(
            "switchboard_log_repeats",
            "Lines not written, since too many of their kind came at once.",
            value=repeats,
        )
        yield CounterMetricFamily(
            "switchboard_appends", "Durable messages stored.", value=self.appends
        )
        yield CounterMetricFamily(
            "switchboard_commits", "Transactions in which they were stored.", value=self.commits
        )
        yield _labelled(
            "appends_refused", "Durable messages refused.", "code", self.appends_refused
        )
        yield CounterMetricFamily(
            "switchboard_messages_damaged",
            "Kept messages that were found damaged and moved aside.",
            value=self.damaged,
        )
        yield _labelled(
            "sockets_closed",
            "Sockets that were refused or dropped before they became a connection.",
            "reason",
            self.sockets_closed,
        )
        yield _labelled(
            "accept_failures",
            "Times that the system refused to accept a socket.",
            "reason",
            self.accept_failures,
        )
        yield _labelled("connections_refused", "Upgrades refused.", "reason", self.refused)
        yield _labelled(
            "limited", "Messages, upgrades and writes above a limit.", "limit", self.limited
        )
        yield _labelled("connections_closed", "Connections closed.", "code", self.closed)
        yield _labelled(
            "messages_received", "Messages from devices.", "prefix", dict(self.received.items())
        )
        yield _labelled(
            "messages_sent", "Messages taken by devices.", "prefix", dict(self.sent.items())
        )
        yield _histogram(
            "delivery_seconds", "From accepting a message to writing it.", self.latency
        )
        yield _histogram("loop_lag_seconds", "How late the event loop runs a timer.", self.lag)
        yield self._handler_seconds()

    def _handler_seconds(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "switchboard_handler_seconds",
            "How long handlers took that had to wait for something.",
            labels=["prefix"],
        )
        for prefix, histogram in self._handlers.items():
            family.add_metric([prefix], histogram.cumulative(), histogram.sum)
        return family


def _labelled(
    name: str, description: str, label: str, counts: Mapping[str, int]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"switchboard_{name}", description, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(name: str, description: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(
        f"switchboard_{name}", description, buckets=histogram.cumulative(), sum_value=histogram.sum
    )
