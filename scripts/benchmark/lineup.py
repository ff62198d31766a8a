"""Which servers are measured, and the comparison of most scenarios: each does the same in turn."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from scripts.benchmark import servers
from scripts.benchmark.load import Load, Phase
from scripts.benchmark.measure import Contender, alternate, summarise
from scripts.benchmark.ours import ours_in_shape
from scripts.benchmark.report import Result
from scripts.benchmark.servers import Program, Shape, Start, Tools


@dataclass(frozen=True, slots=True)
class Lineup:
    """The peers that take part, and for each that cannot, a sentence with the reason."""

    tools: Tools
    peers: Sequence[Program] = ()
    missing: Sequence[str] = field(default_factory=tuple)

    def starts(self, kind: str) -> list[Start]:
        """Return the floor, naive, the peers that can send messages of this kind, and ours."""
        able = [one for one in self.peers if any(k.name == kind for k in one.speech.kinds)]
        return [servers.floor, servers.naive, *able, ours_in_shape]


@dataclass(frozen=True, slots=True)
class Act:
    """What the generators make every server do, and how they warm it up first."""

    kind: str
    measured: Callable[[Load], Phase]
    first: Callable[[Load], object]


def compare(
    lineup: Lineup, shape: Shape, act: Act, runs: int, starts: Sequence[Start] = ()
) -> Result:
    """Return the figures of all servers; the caller fills in scenario and text."""
    with ExitStack() as stack:
        some = starts or lineup.starts(act.kind)
        started = [stack.enter_context(start(lineup.tools, shape)) for start in some]
        for server in started:
            server.load.open(0, shape.connections)
            act.first(server.load)
        contenders = [Contender(server.name, server, act.measured) for server in started]
        figures = summarise(alternate(contenders, runs), peer="naive")
    return Result("", "", "naive", figures, tuple(lineup.missing))
