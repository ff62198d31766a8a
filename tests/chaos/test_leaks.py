"""Whatever way peers die, nothing of them is left."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial

SMALL = {"connects": 450, "tls_connects": 300, "at_once": 8, "heartbeat": 4}
FULL = {"connects": 100_000, "tls_connects": 10_000, "at_once": 64, "heartbeat": 5}


@pytest.mark.parametrize(
    ("name", "none"), [("plain", "tls_connects"), ("TLS", "connects")], ids=["plain", "tls"]
)
def test_the_server_holds_no_more_than_before(
    chaos: Chaos, long: bool, name: str, none: str
) -> None:
    sizes = (FULL if long else SMALL) | {none: 0}
    told = chaos("leaks", checked=False, **sizes)
    # The shares of the ways are rounded.
    assert told.count(f"{name}: connects") > 0.9 * (sizes["connects"] + sizes["tls_connects"])
    assert told.count(f"{name}: ways of dying") >= 12
