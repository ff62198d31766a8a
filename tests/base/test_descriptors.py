"""How many connections fit into the descriptors that a process may have open."""

import logging
import resource
from collections.abc import Iterator

import pytest

from app.base.descriptors import FEW, capacity_for


@pytest.fixture
def limit() -> Iterator[int]:
    """The hard limit, more of which no test of an ordinary user can get."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], before[1]))


@pytest.mark.parametrize(
    ("wanted", "level"), [(True, logging.WARNING), (False, logging.INFO)], ids=["asked", "default"]
)
def test_only_who_asked_for_more_connections_than_fit_is_warned(
    limit: int, caplog: pytest.LogCaptureFixture, wanted: bool, level: int
) -> None:
    with caplog.at_level(logging.INFO):
        capacity = capacity_for(limit + 1, wanted=wanted)
    assert FEW < capacity.connections < limit
    [told] = [record for record in caplog.records if "fewer" in record.getMessage()]
    assert told.levelno == level
