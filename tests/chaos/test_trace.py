"""Acknowledged means on disk."""

import shutil

from tests.chaos.conftest import Chaos


def test_no_answer_is_written_before_its_commit_is_synced(chaos: Chaos) -> None:
    if shutil.which("strace") is None:
        return
    told = chaos("trace", "--messages", "200")
    assert told.count("answers seen") == 200
    assert told.count("answered before its sync") == 0
