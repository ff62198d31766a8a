"""The metrics: counted by plain arithmetic, made into Prometheus' form when it asks."""

import platform
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.base.counts import Answers, Histogram, PrefixCounter, Removals
from app.base.logs import lines_lost
from app.base.version import VERSION

LATENCY_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)
HANDLER_BUCKETS: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)


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
        self.resumes: Counter[str] = Counter()
        self.resets: Counter[str] = Counter()
        self.sign_ins = 0
        self.sign_ins_failed: Counter[str] = Counter()
        self.answers = Answers()
        self.removals = Removals()
        self.latency = Histogram(LATENCY_BUCKETS)
        self.lag = Histogram(LAG_BUCKETS)
        self._handlers: dict[str, Histogram] = {}
        self._known: dict[str, Collection[str]] = {}
        self._histograms: dict[str, tuple[str, Histogram]] = {}
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

    def watch_histogram(self, name: str, description: str, histogram: Histogram) -> None:
        """Show the histogram as `switchboard_NAME`."""
        self._histograms[name] = (description, histogram)

    def know(self, name: str, values: Collection[str]) -> None:
        """Show the counter `NAME` for these values of its label from the start, at 0.

        A counter that first shows as 1 has not risen: no alert would see the first of its kind.
        """
        self._known[name] = values

    def handler_took(self, prefix: str, seconds: float) -> None:
        """Count a handler of a feature, which had to wait for something."""
        histogram = self._handlers.get(prefix)
        if histogram is None:
            histogram = self._handlers[prefix] = Histogram(HANDLER_BUCKETS)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as it is now."""
        for name, (description, read) in self._gauges.items():
            yield _gauge(name, description, read())
        for name, (description, label, tally) in self._tallies.items():
            yield self._labelled(name, description, label, tally())
        for name, (description, histogram) in self._histograms.items():
            yield _histogram(name, description, histogram)
        yield from self._of_connections()
        yield from self._of_messages()
        yield from self._of_sign_ins()
        yield from self.answers.collect()
        yield from self.removals.collect()
        yield from self._of_the_process()

    def _of_connections(self) -> Iterator[Metric]:
        labelled = self._labelled
        yield _counter("connections_accepted", "WebSockets accepted.", self.accepted)
        yield labelled(
            "sockets_closed",
            "Sockets that were refused or dropped before they became a connection.",
            "reason",
            self.sockets_closed,
        )
        yield labelled(
            "accept_failures",
            "Times that the system refused to accept a socket.",
            "reason",
            self.accept_failures,
        )
        yield labelled("connections_refused", "Upgrades refused.", "reason", self.refused)
        yield labelled("connections_closed", "Connections closed.", "code", self.closed)
        yield labelled("resumes", "What came of positions.", "outcome", self.resumes)
        yield labelled("resets", "Why devices were told `reset`.", "reason", self.resets)

    def _of_messages(self) -> Iterator[Metric]:
        labelled = self._labelled
        received, sent = dict(self.received.items()), dict(self.sent.items())
        yield labelled("messages_received", "Messages from devices.", "prefix", received)
        yield labelled("messages_sent", "Messages taken by devices.", "prefix", sent)
        yield _counter(
            "frames_dropped",
            "Ephemeral frames that a slow connection could not take.",
            self.dropped,
        )
        yield _gauge(
            "handlers_running",
            "Handlers of features that wait for something.",
            self.handlers_running,
        )
        yield _gauge(
            "messages_waiting", "Messages in line behind such a handler.", self.messages_waiting
        )
        yield _counter("messages_busy", "Messages refused since too many were in line.", self.busy)
        yield labelled(
            "limited", "Messages, upgrades and writes above a limit.", "limit", self.limited
        )
        yield _counter("appends", "Durable messages stored.", self.appends)
        yield _counter("commits", "Transactions in which they were stored.", self.commits)
        yield labelled("appends_refused", "Durable messages refused.", "code", self.appends_refused)
        yield _counter(
            "messages_damaged",
            "Kept messages that were found damaged and moved aside.",
            self.damaged,
        )
        yield _histogram(
            "delivery_seconds", "From accepting a message to writing it.", self.latency
        )
        yield self._handler_seconds()

    def _of_sign_ins(self) -> Iterator[Metric]:
        yield _counter("sign_ins", "Sign-ins with the right password.", self.sign_ins)
        yield self._labelled(
            "sign_ins_failed", "Sign-ins that failed.", "reason", self.sign_ins_failed
        )

    def _of_the_process(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "switchboard_build_info", "1, for what runs.", labels=["version", "python"]
        )
        build.add_metric([VERSION, platform.python_version()], 1)
        yield build
        dropped, repeats = lines_lost()
        yield _counter(
            "log_lines_dropped",
            "Lines of the log that were not written: its reader was too slow, or the disk full.",
            dropped,
        )
        yield _counter(
            "log_repeats",
            "Lines not written, since too many of their kind came at once.",
            repeats,
        )
        yield _histogram("loop_lag_seconds", "How late the event loop runs a timer.", self.lag)

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
        self, name: str, description: str, label: str, counts: Mapping[str, int]
    ) -> CounterMetricFamily:
        family = CounterMetricFamily(f"switchboard_{name}", description, labels=[label])
        for value, count in {**dict.fromkeys(self._known.get(name, ()), 0), **counts}.items():
            family.add_metric([value], count)
        return family


def _counter(name: str, description: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"switchboard_{name}", description, value=value)


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"switchboard_{name}", description, value=value)


def _histogram(name: str, description: str, histogram: Histogram) -> HistogramMetricFamily:
    return HistogramMetricFamily(
        f"switchboard_{name}", description, buckets=histogram.cumulative(), sum_value=histogram.sum
    )
