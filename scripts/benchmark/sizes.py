"""How large the scenarios are."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of connections and operations; `runs` is the number of turns of each server."""

    runs: int = 7
    warm_up: int = 50
    fanout_connections: tuple[int, ...] = (500, 5000)
    # In one turn, which takes about half a second.
    fanout_deliveries: int = 50_000

    users: int = 200
    devices: int = 5
    others_rounds: int = 60
    mixed_rounds: int = 40

    burst_connections: int = 500
    burst_rounds: int = 5

    echo_connections: int = 64
    echo_pings: int = 400

    connect_connections: int = 1000
    # Full garbage collections fall into one storm and not into the next, so bare aiohttp takes from
    # 130 to 250 µs for an upgrade. A turn of several storms has its share of them.
    connect_storms: int = 3

    idle_connections: int = 10_000
    # Each turn starts new servers; memory varies far less than time does.
    idle_turns: int = 2
    # A quarter of the heartbeat's interval; pings are spread evenly over it.
    idle_seconds: float = 6

    durable_senders: int = 64
    # Messages of each of all senders in one turn, and of a single one: a second or two each.
    durable_sends: int = 200
    durable_sends_alone: int = 1000

    resume_devices: int = 5000
    resume_missed: int = 10
    # 5,000 devices that missed a thousand messages each would take two minutes a turn.
    resume_long_devices: int = 250
    resume_long_missed: int = 1000
    resume_runs: int = 3

    slow_connections: int = 500
    slow_rounds: int = 40
    # Messages of 1 KiB: enough to fill the kernel's buffers of a connection that reads nothing.
    slow_flood: int = 400

    tls_connections: int = 200
    tls_rounds: int = 200

    growth_connections: tuple[int, ...] = (10, 100, 1000, 10_000)
    growth_deliveries: int = 40_000

    latency_seconds: float = 2.0
    latency_runs: int = 5

    stall_connections: int = 5000

    # A warm-up and eight parts of a million frames each, with four reconnects of all in each.
    memory_parts: int = 9
    memory_reconnects: int = 4
    memory_rounds: int = 290
    memory_mixed_rounds: int = 30

    def with_connections(self, count: int) -> "Sizes":
        """Return the same with `count` connections in every scenario."""
        return replace(
            self,
            fanout_connections=(count,),
            users=max(1, count // self.devices),
            burst_connections=count,
            echo_connections=count,
            connect_connections=count,
            idle_connections=count,
            durable_senders=count,
            resume_devices=count,
            slow_connections=count,
            tls_connections=count,
            growth_connections=(*(n for n in self.growth_connections if n < count), count),
            stall_connections=count,
        )

    @property
    def most_connections(self) -> int:
        """The most connections that one process holds."""
        return max(
            self.idle_connections,
            self.connect_connections,
            2 * self.stall_connections,
            *self.growth_connections,
            *self.fanout_connections,
            self.users * self.devices,
        )


# Shows within seconds that everything works; its figures mean little.
QUICK = Sizes(
    runs=2,
    warm_up=5,
    fanout_connections=(40,),
    fanout_deliveries=800,
    users=4,
    others_rounds=5,
    mixed_rounds=10,
    burst_connections=10,
    burst_rounds=2,
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
    resume_devices=20,
    resume_missed=3,
    resume_long_devices=5,
    resume_long_missed=30,
    resume_runs=2,
    slow_connections=20,
    slow_rounds=5,
    tls_connections=10,
    tls_rounds=10,
    growth_connections=(10, 20),
    growth_deliveries=200,
    latency_seconds=0.2,
    latency_runs=2,
    stall_connections=40,
    memory_parts=3,
    memory_reconnects=2,
    memory_rounds=2,
    memory_mixed_rounds=2,
)
