"""Acknowledged means on disk."""

import sys

import pytest

from tests.chaos.conftest import Chaos


@pytest.mark.skipif(sys.platform != "linux", reason="strace is a program of Linux")
def test_no_answer_is_written_before_its_commit_is_synced(chaos: Chaos) -> None:
    told = chaos("trace", "--messages", "200")
    assert told.count("answers seen") == 200
    assert told.count("answered before its sync") == 0
