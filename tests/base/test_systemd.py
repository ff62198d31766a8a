"""The environment of a service, as a supervisor sets it."""

import os

import pytest

from app.base.systemd import notify, take_listeners, watchdog_seconds


def test_sockets_of_another_process_are_left_alone_and_not_passed_on() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert take_listeners(environ) == []
    assert environ == {"HOME": "/"}


def test_without_a_supervisor_nothing_happens() -> None:
    assert take_listeners({}) == []
    assert watchdog_seconds({}) is None
    notify("READY=1", environ={})


def test_a_supervisor_that_is_gone_is_no_error() -> None:
    notify("READY=1", environ={"NOTIFY_SOCKET": "/nowhere/at/all"})
    notify("READY=1", environ={"NOTIFY_SOCKET": "@nobody"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_this_processes(given: dict[str, str], expected: float | None) -> None:
    assert watchdog_seconds(given) == expected
