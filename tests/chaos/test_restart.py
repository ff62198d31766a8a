"""Clients that do as they are told find a server when they come back."""

import pytest

from tests.chaos.conftest import Chaos

pytestmark = pytest.mark.trial


@pytest.mark.parametrize("activated", [True, False])
def test_nobody_who_does_as_told_is_refused(chaos: Chaos, activated: bool, long: bool) -> None:
    # A start may take long where other tests run beside it.
    options: dict[str, object] = {"activated": True} if activated else {"restart_seconds": 20}
    told = chaos("restart", checked=False, devices=2000 if long else 100, **options)
    assert told.count("positioned") == (1800 if long else 90)
