"""Acknowledged means on disk."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


def test_no_answer_is_written_before_its_commit_is_synced(chaos: Chaos, long: bool) -> None:
    messages = 10_000 if long else 200
    told = chaos("trace", messages=messages)
    assert told.count("answers seen") == messages
    assert told.count("answered before its sync") == 0
