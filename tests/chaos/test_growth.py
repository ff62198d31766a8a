"""One user who stores all that it may does not make the database grow without end."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"seconds": 12, "untimed": True}


def test_a_user_at_every_limit_fills_a_bounded_part_of_the_disk(chaos: Chaos, long: bool) -> None:
    told = chaos("growth", checked=False, **({} if long else SMALL))
    assert told.count("send: ok") > 0
    assert told.count("sign-in of a new device: 201") > 0
    assert told.count("sign-in of a new device: 429") > 0
    # The 60th part of the ids that a user may add in a day.
    assert told.count("send: too_many_ids") > 0
