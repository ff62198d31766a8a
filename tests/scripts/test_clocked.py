"""The clock that scripts/chaos clock sets."""

import random
from pathlib import Path

import pytest

from scripts.faults.clock import KINDS, plan_jumps
from scripts.faults.clocked import Shift


def test_a_shift_is_seen_by_whoever_has_the_file(tmp_path: Path) -> None:
    ours, theirs = Shift(tmp_path / "shift"), Shift(tmp_path / "shift")
    assert theirs.seconds == 0
    ours.seconds = -3600.5
    assert theirs.seconds == -3600.5


@pytest.mark.parametrize("count", [0, 7, 30])
def test_every_kind_of_jump_comes_at_least_once(count: int) -> None:
    jumps = plan_jumps(count, random.Random(1))
    assert len(jumps) == max(count, len(KINDS))
    assert set(jumps) == set(KINDS)
