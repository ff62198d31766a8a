"""A page finds its server again, whatever came between them, and loses no durable message."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import NewProfile, StartServer
from tests.browser.playground import compose
from tests.browser.profile import Tab, until
from tests.cli.conftest import CommandLine
from tests.process.server import ServerProcess

HEARTBEAT = 1
"""Seconds; a client notices a server that says nothing after two and a half of them."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def server(start_server: StartServer, folder: Path) -> ServerProcess:
    return start_server(folder, heartbeat_seconds=HEARTBEAT)


@pytest.fixture
def tab(profile: NewProfile, server: ServerProcess) -> Tab:
    """A tab that is connected, and has a position."""
    laptop = profile(server)
    laptop.sign_in("laptop")
    tab = laptop.connected("/playground")
    keep(server.run, "first")
    tab.has_messages("first")
    return tab


def keep(run: CommandLine, *marks: str) -> None:
    """Send a durable message with each of these marks."""
    for mark in marks:
        run("send", "note.text", f'{{"text": "mark-{mark}."}}', "--user", "ada", "--store", "log")


def has_once_and_in_order(tab: Tab, *marks: str) -> None:
    """Check that the feed, which shows the newest first, has these and nothing twice."""
    texts = [f"mark-{mark}." for mark in marks]
    tab.has_messages(*texts)
    shown = [text for row in tab.feed() for text in texts if text in row]
    assert shown == texts[::-1]


def test_a_server_that_was_killed_and_started_again_is_found_and_nothing_is_lost(
    tab: Tab,
    profile: NewProfile,
    server: ServerProcess,
    start_server: StartServer,
    folder: Path,
) -> None:
    phone = profile(server)
    phone.sign_in("phone")
    sender = phone.connected("/playground")
    server.signal(signal.SIGKILL)
    for one in (tab, sender):
        one.lost_status("connected")
    compose(sender, "others", "log", {"text": "mark-while-down."})
    again = start_server(folder, port=server.port, heartbeat_seconds=HEARTBEAT)
    keep(again.run, "just-started")
    for one in (tab, sender):
        one.has_status("connected")
    tab.has_messages("mark-while-down.")
    keep(again.run, "after")
    tab.has_messages("mark-first.", "mark-just-started.", "mark-while-down.", "mark-after.")
    assert [row for row in sender.feed() if "while-down" in row] == []


def test_a_network_that_was_cut_comes_back_and_nothing_is_lost(
    tab: Tab, server: ServerProcess
) -> None:
    context = tab.page.context
    context.set_offline(True)
    tab.lost_status("connected")
    keep(server.run, "while-offline")
    context.set_offline(False)
    tab.has_status("connected")
    keep(server.run, "after")
    has_once_and_in_order(tab, "first", "while-offline", "after")


@contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """Stop the server's process inside of the block."""
    server.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


def test_a_server_that_says_nothing_for_a_while_is_noticed_and_found_again(
    tab: Tab, server: ServerProcess
) -> None:
    with stopped(server):
        tab.lost_status("connected")
    tab.has_status("connected")
    keep(server.run, "after")
    has_once_and_in_order(tab, "first", "after")
    until(lambda: server.sockets() == 1, "one connection")


@pytest.mark.parametrize("hours", [-1, 24 * 400])
def test_a_silent_server_is_noticed_also_when_the_clock_is_set(
    tab: Tab, server: ServerProcess, hours: int
) -> None:
    with stopped(server):
        tab.page.evaluate(
            "jump => { const now = Date.now; Date.now = () => now() + jump; }", hours * 3_600_000
        )
        tab.lost_status("connected")
    tab.has_status("connected")
    keep(server.run, "after")
    has_once_and_in_order(tab, "first", "after")


def test_a_server_that_stops_politely_is_found_again(
    tab: Tab, server: ServerProcess, start_server: StartServer, folder: Path
) -> None:
    server.signal(signal.SIGTERM)
    tab.lost_status("connected")
    assert server.process.wait() == 0
    again = start_server(folder, port=server.port, heartbeat_seconds=HEARTBEAT)
    tab.has_status("connected")
    keep(again.run, "after")
    has_once_and_in_order(tab, "first", "after")


def test_a_page_that_comes_back_from_the_back_forward_cache_has_missed_nothing(
    tab: Tab, server: ServerProcess
) -> None:
    page = tab.page
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    until(lambda: server.sockets() == 0, "no connection of a page that is put away")
    keep(server.run, "while-away")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    tab.has_status("connected")
    keep(server.run, "after")
    has_once_and_in_order(tab, "first", "while-away", "after")
    until(lambda: server.sockets() == 1, "one connection")


def test_a_page_that_was_away_for_too_long_gets_what_is_left_as_no_news(
    tab: Tab, server: ServerProcess, start_server: StartServer, folder: Path
) -> None:
    context = tab.page.context
    context.set_offline(True)
    tab.lost_status("connected")
    keep(server.run, "removed", "removed-too", "left", "left-too")
    server.signal(signal.SIGTERM)
    assert server.process.wait() == 0
    again = start_server(folder, port=server.port, heartbeat_seconds=HEARTBEAT, retention_rows=2)
    until(lambda: again.run.json("stream", "info", "ada")["rows"] == 2, "messages to be removed")
    context.set_offline(False)
    tab.has_status("connected")
    keep(again.run, "after")
    has_once_and_in_order(tab, "first", "left", "left-too", "after")
    assert ["replayed" in row for row in tab.feed()] == [False, True, True, False]
