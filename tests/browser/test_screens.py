"""No screen, light or dark, has a fault that axe-core finds or that breaks the policy."""

import gzip

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ROOT, NewProfile, StartServer
from tests.browser.playground import compose
from tests.browser.profile import Profile, Tab
from tests.cli.conftest import PASSWORD
from tests.process.server import ServerProcess

AXE = ROOT / "frontend/node_modules/axe-core/axe.min.js"
MAX_BYTES = 120 * 1024
"""All files of the app together, gzipped: what README promises."""

ADMIN = ("/admin/users", "/admin/users?user=1", "/admin/connections", "/admin/limits")
SCREENS = ("/", "/playground", "/connection", *ADMIN, "/no/such")

OPENED = (("/", "Rename laptop"), ("/", "Sign out laptop"), ("/admin/users", "Add a user"))

VIEWS = pytest.mark.parametrize(
    "view",
    [
        {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
        {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
        {"color_scheme": "light", "viewport": {"width": 360, "height": 740}, "is_mobile": True},
    ],
    ids=["light", "dark", "phone"],
)


def settle(tab: Tab) -> None:
    """Wait until nothing is fetched and nothing moves, and the heading is there."""
    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    tab.page.wait_for_load_state("networkidle")
    tab.page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished))")


def look(tab: Tab, path: str) -> list[str]:
    """Return what is wrong with the page, each fault as a line."""
    settle(tab)
    tab.page.evaluate(AXE.read_text())
    found = tab.page.evaluate("axe.run()")["violations"]
    faults = [f"{path} {one['id']}: {node['html']}" for one in found for node in one["nodes"]]
    if tab.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        faults.append(f"{path} is wider than the window")
    return faults


@pytest.fixture(scope="module")
def server(start_server: StartServer, browser: Browser) -> ServerProcess:
    """A server whose user `bob` has met a limit, so that there is something to see."""
    server = start_server(user_writes_burst=1, user_writes_per_second=1 / 3600)
    server.run("users", "add", "bob", "--password-stdin", stdin=f"{PASSWORD}\n")
    bob = Profile(browser, server.url)
    path = f"/v1/devices/{bob.sign_in('phone', 'bob')}"
    answers = [bob.context.request.patch(path, data={"device_name": "TV"}) for _ in range(2)]
    assert answers[-1].status == 429
    bob.context.close()
    return server


@VIEWS
def test_axe_finds_no_fault_on_any_screen_and_none_is_wider_than_the_window(
    profile: NewProfile, server: ServerProcess, view: dict[str, object]
) -> None:
    laptop = profile(**view)
    tab = laptop.open("/sign-in")
    faults = look(tab, "/sign-in")
    laptop.sign_in("laptop")
    for path in SCREENS:
        tab.page.goto(path)
        faults += look(tab, path)
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_what_opens_and_in_what_arrives(
    profile: NewProfile, server: ServerProcess, scheme: str
) -> None:
    laptop = profile(color_scheme=scheme)
    laptop.sign_in("laptop")
    tab = laptop.connected("/playground")
    compose(tab, "user", "log", {"text": "to-look-at"})
    tab.has_messages("to-look-at")
    faults = look(tab, "a message")
    press(tab, "Go offline")
    expect(tab.page.get_by_test_id("connection-note")).to_be_visible()
    faults += look(tab, "a page without a connection")
    tab.page.get_by_role("link", name="Devices", exact=True).click()
    faults += look(tab, "the devices without a connection")
    press(tab, "Go online")
    tab.has_status("connected")
    press(tab, "Account")
    faults += look(tab, "the account's menu")
    press(tab, "Change password")
    faults += look(tab, "the password's dialog")
    for path, button in OPENED:
        tab.page.goto(path)
        press(tab, button)
        faults += look(tab, f"what opens by {button}")
    assert faults == []


def press(tab: Tab, name: str) -> None:
    tab.page.get_by_role("button", name=name).first.click()


def test_the_policy_stops_what_it_should(profile: NewProfile, server: ServerProcess) -> None:
    """The listener for violations works, and so does the policy."""
    laptop = profile()
    tab = laptop.open("/sign-in")
    settle(tab)
    tab.page.evaluate(
        """() => { const script = document.createElement('script');
        try { script.textContent = 'window.ran = true'; } catch { return; }
        document.head.append(script); }"""
    )
    tab.page.evaluate(
        """() => { const image = new Image(); image.src = 'https://elsewhere.invalid/x.png';
        document.body.append(image); }"""
    )
    tab.page.wait_for_load_state("networkidle")
    assert tab.page.evaluate("window.ran") is None
    told = "".join(laptop.faults)
    assert "policy: require-trusted-types-for" in told
    assert "policy: img-src" in told
    laptop.faults.clear()


def test_the_app_is_small(built: None) -> None:
    files = [path for path in (ROOT / "frontend/dist").rglob("*") if path.is_file()]
    assert files
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < MAX_BYTES
