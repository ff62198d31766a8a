"""A session that ends takes its connection with it, at once."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"devices": 120, "per_second": 40, "messages_per_second": 100, "untimed": True}
FULL = {"devices": 5000, "per_second": 50, "messages_per_second": 200}


def test_ended_sessions_close_their_connections_and_get_nothing_more(
    chaos: Chaos, long: bool
) -> None:
    sizes = FULL if long else SMALL
    told = chaos("revoke", checked=False, **sizes)
    assert told.count("connections") == sizes["devices"]
    # The first device of ten stays.
    assert told.count("closed") == sizes["devices"] * 9 // 10
    assert told.count("messages meanwhile") > 0
