"""How many blocks and tasks an idle connection takes, counted inside of the server's process."""

from collections import Counter
from collections.abc import Iterator

import pytest

from scripts.benchmark.servers import Tools
from tests.costs import bounds
from tests.costs.conftest import NEVER, Examined, examined, people

pytestmark = pytest.mark.process

FIRST = 100
CONNECTIONS = 500


@pytest.fixture(scope="module")
def server(tools: Tools) -> Iterator[Examined]:
    """A server that has had connections before; five devices to a user."""
    clients = people((FIRST + CONNECTIONS) // 5, 5)
    with examined(tools, clients, HEARTBEAT_SECONDS=NEVER) as subject:
        subject.load.open(0, FIRST)
        yield subject


@pytest.fixture(scope="module")
def grown(server: Examined) -> Counter[str]:
    """What there is more of with the connections than without them."""
    before = server.settled()
    server.load.open(FIRST, CONNECTIONS)
    return server.settled() - before


def test_an_idle_connection_holds_few_blocks_and_no_task_of_ours(grown: Counter[str]) -> None:
    bounds.BLOCKS.check(grown["blocks"], CONNECTIONS, grown)
    bounds.TASKS.check(grown["tasks"], CONNECTIONS, grown)


def test_one_block_more_for_each_connection_is_found(server: Examined, grown: Counter[str]) -> None:
    before = server.settled()
    server.census("keep", CONNECTIONS)
    more = server.settled() - before
    with pytest.raises(AssertionError, match="blocks of memory for an idle connection"):
        bounds.BLOCKS.check(grown["blocks"] + more["blocks"], CONNECTIONS, grown)
