"""fanout: one message to every connection of a user."""

from contextlib import ExitStack

from scripts.benchmark import servers
from scripts.benchmark.measure import Contender, alternate, summarise
from scripts.benchmark.ours import one_user, ours
from scripts.benchmark.report import Result
from scripts.benchmark.sizes import Sizes


def run(tools: servers.Tools, sizes: Sizes) -> Result:
    """Return the cost of one delivery."""
    count = sizes.fanout_connections
    with ExitStack() as stack:
        started = [
            stack.enter_context(servers.floor(tools, count)),
            stack.enter_context(servers.naive(tools, count)),
            stack.enter_context(ours(tools, one_user(count))),
        ]
        for server in started:
            server.load.open(0, count)
            server.load.fanout(sizes.warm_up)
        contenders = [
            Contender(server.name, server, lambda load: load.fanout(sizes.fanout_rounds))
            for server in started
        ]
        figures = summarise(alternate(contenders, sizes.runs), peer="naive")
    return Result("fanout", f"one message to {count} connections, per delivery", "naive", figures)
