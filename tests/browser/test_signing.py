"""Signing in and out, as a person does it."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewProfile, StartServer
from tests.browser.profile import Profile, Tab, until
from tests.cli.conftest import PASSWORD
from tests.process.server import ServerProcess

A_DAY = 24 * 60 * 60 * 1000


def fill_in(tab: Tab, password: str = PASSWORD) -> None:
    tab.page.get_by_label("Handle", exact=True).fill("ada")
    tab.page.get_by_label("Password", exact=True).fill(password)
    tab.page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Account").click()
    tab.page.get_by_role("button", name="Sign out", exact=True).click()


@pytest.fixture
def server(start_server: StartServer) -> ServerProcess:
    """A server of its own, so that nobody else's sockets are counted."""
    return start_server()


def test_who_signs_in_is_connected_and_still_so_after_a_reload(
    profile: NewProfile, server: ServerProcess
) -> None:
    tab = profile().open("/")
    tab.asks_to_sign_in()
    assert tab.sockets == []
    fill_in(tab)
    tab.has_status("connected")
    tab.page.reload()
    tab.has_status("connected")
    until(lambda: server.sockets() == 1, "one connection")


def test_a_page_that_was_asked_for_is_shown_after_signing_in(
    profile: NewProfile, server: ServerProcess
) -> None:
    tab = profile().open("/playground")
    tab.asks_to_sign_in()
    fill_in(tab)
    tab.has_status("connected")
    expect(tab.page).to_have_url(f"{server.url}/playground")


def test_a_wrong_password_is_said_in_words_and_opens_no_socket(profile: NewProfile) -> None:
    tab = profile().open("/sign-in")
    fill_in(tab, "wrong password")
    expect(tab.page.get_by_role("alert")).to_contain_text("wrong")
    assert tab.sockets == []
    fill_in(tab)
    tab.has_status("connected")


def test_signing_out_closes_the_socket_of_every_tab_and_it_stays_closed(
    profile: NewProfile, server: ServerProcess
) -> None:
    signed_in = profile()
    signed_in.context.clock.install()
    signed_in.sign_in("laptop")
    first, second = signed_in.connected(), signed_in.connected("/connection")
    sign_out(first)
    for tab in (first, second):
        tab.asks_to_sign_in()
    until(lambda: server.sockets() == 0, "no connection")
    before = [len(tab.sockets) for tab in (first, second)]
    for tab in (first, second):
        tab.page.clock.fast_forward(A_DAY)
        tab.asks_to_sign_in()
    assert [len(tab.sockets) for tab in (first, second)] == before
    assert signed_in.context.request.get("/v1/auth/session").status == 401


def test_nothing_of_the_session_is_left_where_scripts_can_read_it(profile: NewProfile) -> None:
    signed_in = profile()
    tab = signed_in.open("/")
    with tab.page.expect_response("**/v1/auth/login") as answer:
        fill_in(tab)
    tab.has_status("connected")
    token = answer.value.json()["token"]
    kept = tab.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    assert token not in kept
    assert PASSWORD not in kept
    assert "session_token" not in tab.page.evaluate("document.cookie")
    assert token not in "".join(socket.url for socket in tab.sockets)


def revoke(by: Profile, device: int) -> None:
    assert by.context.request.delete(f"/v1/devices/{device}").status == 204


def test_a_device_that_another_one_revokes_is_signed_out_before_any_timer_runs(
    profile: NewProfile, server: ServerProcess
) -> None:
    phone, laptop = profile(), profile()
    phone.context.clock.install()
    lost = phone.sign_in("phone")
    laptop.sign_in("laptop")
    tab, other = phone.connected(), laptop.connected()
    # Nothing is waited for: no poll, no back-off, no beat of the heart.
    tab.page.clock.pause_at(tab.page.evaluate("Date.now()"))
    revoke(laptop, lost)
    tab.asks_to_sign_in()
    other.has_status("connected")
    until(lambda: server.sockets() == 1, "one connection")
