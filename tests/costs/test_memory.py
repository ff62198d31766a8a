"""How many blocks and tasks an idle connection takes, counted inside of the server's process."""

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


def test_an_idle_connection_holds_few_blocks_and_no_task_of_ours(server: Examined) -> None:
    before = server.census()
    server.load.open(FIRST, CONNECTIONS)
    after = server.census()
    grown = after - before
    bounds.BLOCKS.check(grown["blocks"], CONNECTIONS, grown)
    bounds.TASKS.check(grown["tasks"], CONNECTIONS, grown)
