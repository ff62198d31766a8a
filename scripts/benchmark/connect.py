"""connect: a storm of authenticated upgrades, by header and by cookie, token seen or never seen."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from scripts.benchmark import servers
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.load import Load, Phase
from scripts.benchmark.measure import Contender, alternate, settle, summarise
from scripts.benchmark.ours import newcomers, ours
from scripts.benchmark.report import Result
from scripts.benchmark.sizes import Sizes

AT_ONCE = 32


def _opening(count: int, *starts: int) -> Callable[[Load], Phase]:
    """Return an act that opens `count` connections, each call from the next of `starts` on."""
    waiting = list(starts)

    def act(load: Load) -> Phase:
        start = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return load.open(start, count, AT_ONCE)

    return act


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one upgrade, which includes `connected` in ours."""
    count, tools = sizes.connect_connections, lineup.tools
    with ExitStack() as stack:
        floor = stack.enter_context(servers.floor(tools, servers.Shape(count)))
        bare = stack.enter_context(servers.bare(tools, servers.Shape(count)))
        plan = newcomers(count, sizes.runs)
        own = stack.enter_context(ours(tools, plan.clients))
        for server in (floor, bare, own):
            server.load.open(0, count, AT_ONCE)
            server.load.close()
            settle(server)
        contenders = [
            Contender("floor", floor, _opening(count, 0), Load.close, sizes.connect_storms),
            Contender("bare aiohttp", bare, _opening(count, 0), Load.close, sizes.connect_storms),
            *(
                Contender(
                    f"ours, {way}",
                    own,
                    _opening(count, *starts),
                    Load.close,
                    # The server sees a token for the first time only once.
                    sizes.connect_storms if len(starts) == 1 else 1,
                )
                for way, starts in plan.starts.items()
            ),
        ]
        figures = summarise(alternate(contenders, sizes.runs), peer="bare aiohttp")
    what = f"{count} upgrades, {AT_ONCE} at a time, per upgrade"
    return [Result("connect", what, "bare aiohttp", figures)]
