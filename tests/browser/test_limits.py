"""An administrator watches who meets a limit, and goes to them."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewProfile, StartServer
from tests.browser.profile import Profile
from tests.cli.conftest import PASSWORD
from tests.process.server import ServerProcess


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> ServerProcess:
    """A server that allows a user one change an hour, with `bob` beside `ada`."""
    server = start_server(user_writes_burst=1, user_writes_per_second=1 / 3600)
    server.run("users", "add", "bob", "--password-stdin", stdin=f"{PASSWORD}\n")
    return server


def rename(profile: Profile, device_id: int) -> int:
    """Return the status of the answer to a change."""
    path = f"/v1/devices/{device_id}"
    return profile.context.request.patch(path, data={"device_name": "TV"}).status


def test_whoever_meets_a_limit_appears_on_the_open_page_and_can_be_disabled_from_there(
    profile: NewProfile, server: ServerProcess
) -> None:
    admin, bob = profile(), profile()
    admin.sign_in("laptop")
    tab = admin.connected("/admin/limits")
    expect(tab.page.get_by_text("Nobody met a limit in the last hour")).to_be_visible()
    device_id = bob.sign_in("phone", "bob")
    assert [rename(bob, device_id) for _ in range(3)] == [200, 429, 429]
    row = tab.page.get_by_test_id("limit")
    expect(row).to_contain_text("Changes over HTTP")
    expect(row).to_contain_text("2 times")
    row.get_by_role("link", name="bob").click()
    expect(tab.page.get_by_text("Only bob")).to_be_visible()
    tab.page.get_by_role("button", name="Manage bob").click()
    tab.page.get_by_role("button", name="Disable").click()
    expect(tab.page.get_by_text("Disabled: cannot sign in.")).to_be_visible()
    assert bob.context.request.get("/v1/auth/session").status == 401
