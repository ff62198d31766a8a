"""echo: `ping` and its `pong`, the shortest way through the server and back."""

from contextlib import ExitStack

from scripts.benchmark import servers
from scripts.benchmark.measure import Contender, alternate, summarise
from scripts.benchmark.ours import many_users, ours
from scripts.benchmark.report import Result
from scripts.benchmark.sizes import Sizes


def run(tools: servers.Tools, sizes: Sizes) -> Result:
    """Return the cost of one round trip."""
    count = sizes.echo_connections
    with ExitStack() as stack:
        started = [
            stack.enter_context(servers.floor(tools, count)),
            stack.enter_context(servers.naive(tools, count)),
            stack.enter_context(ours(tools, many_users(count))),
        ]
        for server in started:
            server.load.open(0, count)
            server.load.echo(sizes.warm_up, count)
        contenders = [
            Contender(server.name, server, lambda load: load.echo(sizes.echo_pings, count))
            for server in started
        ]
        figures = summarise(alternate(contenders, sizes.runs), peer="naive")
    return Result("echo", f"ping and pong on {count} connections, per round trip", "naive", figures)
