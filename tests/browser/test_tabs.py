"""Tabs of one browser live side by side."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import NewProfile, StartServer
from tests.browser.playground import compose
from tests.browser.profile import Profile, Tab, until
from tests.process.server import ServerProcess

SIDE_BY_SIDE = 30
"""Seconds; clients that come back after 3 s would have put each other out ten times."""

RELOADS = 100

# The page loads itself anew: before it could run, while it connects, when it is connected.
RELOADING = """if (Number(sessionStorage.reloads) > 0) {
  const left = --sessionStorage.reloads;
  setTimeout(() => location.reload(), [0, 60, 200][left % 3]);
} else {
  addEventListener('load', () => (document.documentElement.dataset.reloaded = 'enough'));
}"""


def instance(tab: Tab) -> str:
    """Return the instance that the newest socket of the tab asked for."""
    [name] = parse_qs(urlsplit(tab.sockets[-1].url).query)["instance"]
    return name


def says(tab: Tab, mark: str) -> None:
    """Send from this tab to all other connections of the user."""
    compose(tab, "others", "none", mark)


def tabs_of(profile: Profile, count: int) -> list[Tab]:
    profile.sign_in("laptop")
    return [profile.connected("/playground") for _ in range(count)]


@dataclass
class Neighbours:
    """All tabs of a server, which are of one profile, and when the last of them was opened."""

    server: ServerProcess
    profile: Profile
    tabs: list[Tab]
    since: float = field(default_factory=time.monotonic)


@pytest.fixture(scope="module", autouse=True)
def neighbours(browser: Browser, start_server: StartServer) -> Iterator[list[Neighbours]]:
    """Two tabs of one server and three of another, open while the other tests here run."""
    made = []
    for count in (2, 3):
        server = start_server()
        profile = Profile(browser, server.url)
        made.append(Neighbours(server, profile, tabs_of(profile, count)))
    yield made
    for one in made:
        one.profile.context.close()


def test_a_duplicated_tab_takes_an_instance_of_its_own(
    profile: NewProfile, start_server: StartServer
) -> None:
    server = start_server()
    [original] = tabs_of(profile(server), 1)
    with original.page.context.expect_page() as opened:
        # A window that a page opens gets a copy of its sessionStorage, as a duplicate does.
        original.page.evaluate("void open('/playground')")
    copy = Tab(opened.value)
    copy.has_status("connected")
    until(lambda: server.sockets() == 2, "two connections")
    original.has_status("connected")
    assert len(original.sockets) == 1
    says(copy, "from-the-copy")
    original.has_messages("from-the-copy")
    says(original, "from-the-original")
    copy.has_messages("from-the-original")


def test_a_reload_keeps_the_instance(profile: NewProfile, start_server: StartServer) -> None:
    server = start_server()
    [tab] = tabs_of(profile(server), 1)
    before = instance(tab)
    tab.page.reload()
    tab.has_status("connected")
    assert instance(tab) == before
    until(lambda: server.sockets() == 1, "one connection")


def test_a_hundred_quick_reloads_end_connected_and_leave_nothing_behind(
    profile: NewProfile, start_server: StartServer
) -> None:
    server = start_server()
    [tab] = tabs_of(profile(server), 1)
    tab.page.add_init_script(RELOADING)
    tab.page.evaluate("(count) => (sessionStorage.reloads = count)", RELOADS)
    tab.page.reload(wait_until="commit")
    last = tab.page.locator("html[data-reloaded]")
    expect(last).to_be_attached()
    tab.has_status("connected")
    assert len(tab.sockets) > RELOADS / 4, "too quick to try anything"
    until(lambda: server.sockets() == 1, "one connection")
    assert [line for line in server.log if line["level"] in ("error", "critical")] == []


def test_two_and_three_tabs_live_side_by_side_for_half_a_minute(
    neighbours: list[Neighbours],
) -> None:
    for one in neighbours:
        left = one.since + SIDE_BY_SIDE - time.monotonic()
        one.tabs[0].page.wait_for_timeout(max(0, left) * 1000)
        assert [len(tab.sockets) for tab in one.tabs] == [1] * len(one.tabs)
        assert len({instance(tab) for tab in one.tabs}) == len(one.tabs)
        assert one.server.sockets() == len(one.tabs)
        says(one.tabs[0], "heard-by-all")
        for tab in one.tabs[1:]:
            tab.has_messages("heard-by-all")
            tab.has_status("connected")
        assert one.profile.faults == []
