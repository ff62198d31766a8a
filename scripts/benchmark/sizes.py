"""How large the scenarios are."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of connections and operations; `runs` is how often each server has its turn."""

    runs: int = 7
    warm_up: int = 50
    fanout_connections: int = 500
    # One turn is 100,000 deliveries, about a second.
    fanout_rounds: int = 200
    echo_connections: int = 64
    echo_pings: int = 400
    connect_connections: int = 1000
    # A bare aiohttp spends from 130 to 250 µs on an upgrade, as full garbage collections fall into
    # a storm or between two: a turn of several has its share of them.
    connect_storms: int = 5
    idle_connections: int = 10_000
    # Fresh servers each time; memory varies far less than time does.
    idle_turns: int = 3
    # Long enough for the server's heartbeat to come round a few times.
    idle_seconds: float = 10

    durable_senders: int = 64
    # One turn of each sender, and of a single one: a second or two.
    durable_sends: int = 200
    durable_sends_alone: int = 1000

    def with_connections(self, count: int) -> "Sizes":
        """Return the same with `count` connections in every scenario."""
        return replace(
            self,
            fanout_connections=count,
            echo_connections=count,
            connect_connections=count,
            idle_connections=count,
            durable_senders=count,
        )


# Shows in seconds that everything works; its figures mean little.
QUICK = Sizes(
    runs=2,
    warm_up=5,
    fanout_connections=40,
    fanout_rounds=20,
    echo_connections=8,
    echo_pings=20,
    connect_connections=20,
    connect_storms=2,
    idle_connections=60,
    idle_turns=1,
    idle_seconds=0.2,
    durable_senders=8,
    durable_sends=10,
    durable_sends_alone=20,
)
