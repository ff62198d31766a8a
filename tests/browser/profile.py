"""A browser profile: to the server it is one device, and each of its tabs is an instance."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebSocket, expect
from serving import PATIENCE

from tests.cli.conftest import PASSWORD

expect.set_options(timeout=PATIENCE * 1000)

# What the browser itself says when a request or a socket fails, which some tests bring about.
_OF_THE_NETWORK = ("Failed to load resource", "WebSocket connection to")

_TELL_VIOLATIONS = """addEventListener('securitypolicyviolation', (fault) => console.error(
  `policy: ${fault.violatedDirective} ${fault.blockedURI} ${fault.sourceFile}:${fault.lineNumber}`
));"""


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds; raises AssertionError when it does not in the end."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


@dataclass
class Tab:
    """A page, and the sockets that it has opened."""

    page: Page
    sockets: list[WebSocket] = field(default_factory=list)

    def has_status(self, status: str) -> None:
        """Wait until the dot in the header says this."""
        dot = self.page.get_by_test_id("status")
        expect(dot).to_have_attribute("data-status", status)

    def lost_status(self, status: str) -> None:
        """Wait until the dot in the header says something else."""
        dot = self.page.get_by_test_id("status")
        expect(dot).not_to_have_attribute("data-status", status)

    def asks_to_sign_in(self) -> None:
        """Wait until the page is the one for signing in."""
        button = self.page.get_by_role("button", name="Sign in", exact=True)
        expect(button).to_be_visible()

    def feed(self) -> list[str]:
        """Return the texts of the rows of the live feed."""
        return self.page.get_by_test_id("message").all_inner_texts()

    def has_messages(self, *marks: str) -> None:
        """Wait until the feed has a row with each of these marks, and each once."""
        for mark in marks:
            rows = self.page.get_by_test_id("message").filter(has_text=mark)
            expect(rows).to_have_count(1)


class Profile:
    """A profile that nobody has used; what goes wrong in its pages is kept in `faults`."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.faults: list[str] = []
        self.context: BrowserContext = browser.new_context(base_url=url, **options)
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.add_init_script(_TELL_VIOLATIONS)
        self.context.on("console", self._note)
        self.context.on("weberror", lambda error: self.faults.append(str(error.error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_OF_THE_NETWORK):
            self.faults.append(message.text)

    def sign_in(self, name: str, handle: str = "ada") -> int:
        """Sign in as the app's page does; return the device's id."""
        device = {"device_uuid": f"uuid-of-{name}", "device_type": "web", "device_name": name}
        answer = self.context.request.post(
            "/v1/auth/login", data={"user_handle": handle, "password": PASSWORD, **device}
        )
        assert answer.status == 201, answer.text()
        return int(answer.json()["device_id"])

    def open(self, path: str = "/") -> Tab:
        """Return a new tab that shows this path."""
        tab = self.adopt(self.context.new_page())
        tab.page.goto(path)
        return tab

    def adopt(self, page: Page) -> Tab:
        """Return the tab of a page that is there already."""
        tab = Tab(page)
        page.on("websocket", lambda socket: tab.sockets.append(socket))
        return tab

    def connected(self, path: str = "/") -> Tab:
        """Return a new tab that shows this path and is connected."""
        tab = self.open(path)
        tab.has_status("connected")
        return tab
