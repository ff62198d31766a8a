"""A page that has lost its connection says so, on every screen and at every width."""

import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import NewProfile, StartServer
from tests.browser.playground import compose
from tests.browser.profile import Tab

WIDTHS = pytest.mark.parametrize("width", [1280, 768, 360])


def note(tab: Tab) -> Locator:
    return tab.page.get_by_test_id("connection-note")


def come_back(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Connect now", exact=True).click()
    tab.has_status("connected")
    expect(note(tab)).to_have_count(0)


def fits(tab: Tab) -> bool:
    """Return whether nothing is wider than the window."""
    return bool(tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@WIDTHS
def test_a_tab_of_too_many_says_why_and_comes_back_by_its_button(
    profile: NewProfile, start_server: StartServer, width: int
) -> None:
    server = start_server(max_connections_per_device=1)
    laptop = profile(server, viewport={"width": width, "height": 700})
    laptop.sign_in("laptop")
    for path in ("/", "/playground", "/connection"):
        tab = laptop.connected(path)
        other = laptop.connected("/")
        expect(note(tab)).to_be_visible()
        expect(note(tab)).to_contain_text("this device has too many connections")
        assert fits(tab)
        come_back(tab)
        expect(note(other)).to_contain_text("this device has too many connections")
        other.page.close()


@WIDTHS
def test_a_server_that_is_away_is_said_in_words_and_found_by_the_button(
    profile: NewProfile, start_server: StartServer, tmp_path: Path, width: int
) -> None:
    server = start_server(tmp_path)
    laptop = profile(server, viewport={"width": width, "height": 700})
    laptop.sign_in("laptop")
    tab = laptop.connected("/playground")
    server.signal(signal.SIGKILL)
    expect(note(tab)).to_contain_text("The server cannot be reached")
    expect(tab.page.get_by_role("button", name="Go offline")).to_have_count(0)
    assert fits(tab)
    start_server(tmp_path, port=server.port)
    tab.has_status("connected")
    expect(note(tab)).to_have_count(0)
    expect(tab.page.get_by_role("button", name="Go offline")).to_be_visible()


def times_of(tab: Tab, mark: str) -> list[str]:
    """Return the times of the rows with this mark, in words."""
    rows = tab.page.get_by_test_id("message").filter(has_text=mark)
    return [row.locator("time").get_attribute("title") or "" for row in rows.all()]


def test_what_came_before_a_reload_is_there_with_its_times_until_the_user_signs_out(
    profile: NewProfile, start_server: StartServer
) -> None:
    server = start_server()
    laptop = profile(server)
    laptop.sign_in("laptop")
    tab = laptop.connected("/playground")
    compose(tab, "user", "none", {"text": "not-kept-anywhere"})
    tab.has_messages("not-kept-anywhere")
    compose(tab, "user", "log", {"text": "kept-by-the-server"})
    tab.has_messages("kept-by-the-server")
    times = [times_of(tab, mark) for mark in ("not-kept-anywhere", "kept-by-the-server")]
    for _ in range(2):
        tab.page.reload()
        tab.has_status("connected")
        tab.has_messages("not-kept-anywhere", "kept-by-the-server")
    assert [times_of(tab, mark) for mark in ("not-kept-anywhere", "kept-by-the-server")] == times
    assert tab.page.get_by_test_id("send").count() == 2
    tab.page.get_by_role("button", name="Account: ada").click()
    tab.page.get_by_role("button", name="Sign out", exact=True).click()
    tab.asks_to_sign_in()
    assert "not-kept-anywhere" not in tab.page.evaluate("JSON.stringify({...sessionStorage})")


@pytest.mark.parametrize("path", ["/sign-in", "/no/such", "/playground"])
def test_the_header_and_the_page_end_at_the_same_edge_on_short_and_long_pages(
    profile: NewProfile, start_server: StartServer, path: str
) -> None:
    laptop = profile(start_server())
    laptop.sign_in("laptop")
    tab = laptop.connected("/")
    tab.page.goto(path)
    reserved = "innerWidth - document.documentElement.getBoundingClientRect().width"
    assert tab.page.evaluate(reserved) == 0, "space beside the page that nothing fills"
