"""The pages about the benchmark name each of its scenarios and peers."""

import pytest

from scripts.benchmark.__main__ import SCENARIOS
from scripts.benchmark.peers.catalogue import PEERS
from tests.docs.pages import page

PAGES = ("scripts/benchmark/README.md", "docs/performance.md")


@pytest.mark.parametrize("name", PAGES)
def test_every_scenario_and_every_peer_has_its_row_and_no_other_has(name: str) -> None:
    assert [row[0] for row in page(name).table("scenario")] == list(SCENARIOS)
    assert [row[0] for row in page(name).table("peer")] == list(PEERS)
