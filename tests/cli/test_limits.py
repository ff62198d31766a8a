"""`limits`: who is at a limit, at a server that runs."""

import urllib.error
import urllib.request

import pytest

from app.cli.limits import SETTINGS
from app.node.limited import LIMITS
from app.settings import Settings
from tests.cli.conftest import Served

WRITES = 200
"""More than a user may make at once, with those that are given back meanwhile."""


def rename(served: Served, token: str, device_id: int) -> int:
    """Return the status of a request that changes a device."""
    request = urllib.request.Request(
        f"{served.url}/v1/devices/{device_id}",
        method="PATCH",
        data=b'{"device_name": "TV"}',
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def write_too_much(served: Served) -> None:
    """Rename a device until the server refuses it."""
    token = served.run.token()
    [device] = served.run.json("devices", "list", "ada")
    assert any(rename(served, token, device["id"]) == 429 for _ in range(WRITES))


@pytest.mark.process
def test_whoever_meets_a_limit_is_shown_with_the_setting_that_raises_it(served: Served) -> None:
    assert served.run("limits", "ada").stdout == "No limit was met by this user in the last hour.\n"
    write_too_much(served)
    heading, row = served.run("limits", "ada").stdout.splitlines()
    assert heading.split() == ["USER", "LIMIT", "COUNT", "BEGAN", "LAST", "SETTING"]
    assert row.split()[:3] == ["ada", "writes", "1"]
    assert row.split()[-2:] == ["ago", "user_writes_per_second"]
    [found] = served.run.json("limits", "ada")
    assert (found["user_handle"], found["limit"], found["count"]) == ("ada", "writes", 1)
    assert found["began_at"] == found["last_at"]
    assert "no such user" in served.run.refused("limits", "bob")


def test_each_limit_has_settings_that_there_are() -> None:
    assert list(SETTINGS) == list(LIMITS)
    named = {name for names in SETTINGS.values() for name in names.split(", ")}
    assert named <= set(Settings.model_fields)
