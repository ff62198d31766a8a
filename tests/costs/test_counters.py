"""Every counter sees one thing more, and a bound tells what there is too much of."""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest

from app.protocol.messages import feature_of
from scripts.benchmark.servers import Tools
from tests.costs import bounds
from tests.costs.conftest import NEVER, Examined, examined, people
from tests.costs.python_calls import fewest_calls, python_calls

MORE = 200


@pytest.fixture(scope="module")
def server(tools: Tools) -> Iterator[Examined]:
    with examined(tools, people(1, 1), HEARTBEAT_SECONDS=NEVER) as subject:
        # What is made for the first of everything.
        subject.census("keep", 1)
        yield subject


@pytest.mark.process
def test_system_calls_made_in_vain_are_counted(server: Examined) -> None:
    server.load.open(0, 1)
    found = server.calls_of(lambda: (server.census("write", MORE), server.load.echo(10, 1)))
    assert MORE <= found["write"] <= MORE + 10 + bounds.BESIDE
    with pytest.raises(AssertionError, match="writes for a ping: 2"):
        bounds.PING_WRITES.check(found["write"], 10, found)


@pytest.mark.process
def test_blocks_kept_in_vain_are_counted(server: Examined) -> None:
    before = server.census()
    grown = server.census("keep", MORE) - before
    assert MORE <= grown["blocks"] < MORE * 2


def test_one_call_more_is_counted() -> None:
    with python_calls() as once:
        feature_of("bench.tick")
    with python_calls() as thrice:
        for _ in range(3):
            feature_of("bench.tick")
    assert once == {"feature_of": 1, "str.partition": 1}
    assert thrice == {"feature_of": 3, "str.partition": 3}


async def test_what_runs_beside_in_some_of_the_turns_is_left_out() -> None:
    turns = count()

    async def act() -> None:
        for _ in range(1 + next(turns) % 2):
            feature_of("bench.tick")

    assert await fewest_calls(act) == {"feature_of": 1, "str.partition": 1}


def test_a_bound_says_what_grew_and_where_it_stands() -> None:
    bounds.PINGED.check(56, 1)
    with pytest.raises(AssertionError) as failure:
        bounds.PINGED.check(57, 1, Counter({"len": 49, "is_type": 8}))
    told = str(failure.value)
    assert "calls for a ping: 57.00" in told
    assert "tests/costs/bounds.py" in told
    assert "49 × len, 8 × is_type" in told
