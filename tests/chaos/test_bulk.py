"""What ends or removes very many rows makes nobody wait, and a kill loses none of it."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {
    "sessions": 3000,
    "old": 5000,
    "rows": 1000,
    "keys": 100,
    "ids": 1000,
    "untimed": True,
}


def test_very_many_rows_end_at_once_and_go_in_steps(chaos: Chaos, long: bool) -> None:
    told = chaos("bulk", checked=False, **({} if long else SMALL))
    assert told.count("sessions after the password change") == 1
    assert told.count("sessions of the user above the limit") == 100
    assert told.count("messages of the other user") > 0
