"""Pages of other origins: refused, or let in by the operator's list."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, NewProfile, StartServer
from tests.cli.conftest import PASSWORD
from tests.process.server import ServerProcess

# It tries twice: with the cookie alone, and with a token that it made up.
INTRUDER = """async (url) => {
  const attempt = (protocols) => new Promise((resolve) => {
    const socket = new WebSocket(url, protocols);
    socket.onopen = () => resolve('open');
    socket.onclose = (close) => resolve(close.code);
  });
  return [await attempt([]), await attempt(['switchboard.v1', 'bearer.made-up'])];
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the folder, and give its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{other.server_port}"
        finally:
            other.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def examples() -> Iterator[str]:
    with serving(ROOT / "examples") as origin:
        yield origin


@pytest.fixture(scope="module")
def server(start_server: StartServer, examples: str) -> ServerProcess:
    """A server that lets the examples in."""
    return start_server(allowed_origins=examples)


def refusals(server: ServerProcess) -> list[str]:
    return [str(line["reason"]) for line in server.logged("refused")]


def test_a_page_of_a_foreign_origin_is_refused_with_and_without_the_cookie(
    profile: NewProfile, server: ServerProcess, tmp_path: Path
) -> None:
    visitor = profile(server)
    visitor.sign_in("laptop")
    (tmp_path / "page.html").write_text("<!doctype html><title>Elsewhere</title>")
    with serving(tmp_path) as origin:
        tab = visitor.open(f"{origin}/page.html")
        socket = f"{server.url.replace('http', 'ws', 1)}/v1/ws"
        assert tab.page.evaluate(INTRUDER, socket) == [1006, 1006]
        fetched = tab.page.evaluate(
            "(url) => fetch(url, { credentials: 'include' }).then(() => 'read', () => 'refused')",
            f"{server.url}/v1/devices",
        )
    assert fetched == "refused"
    assert refusals(server) == ["forbidden_origin", "forbidden_origin"]
    # The cookie was good: the same profile gets in from a page of the server's own.
    visitor.connected()
    visitor.faults[:] = [fault for fault in visitor.faults if "CORS policy" not in fault]


def test_the_example_signs_in_from_an_origin_on_the_list_and_shows_messages(
    profile: NewProfile, server: ServerProcess, examples: str
) -> None:
    page = profile(server).open(f"{examples}/messages.html").page
    page.get_by_label("Server").fill(server.url)
    page.get_by_label("Handle").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("status")).to_have_text("connected")
    server.run("send", "note.text", '{"text": "Dinner!"}', "--user", "ada", "--store", "log")
    row = page.get_by_role("listitem").filter(has_text="Dinner!")
    expect(row).to_have_text('note.text {"text":"Dinner!"}')


def test_the_example_says_what_is_wrong_with_the_password(
    profile: NewProfile, server: ServerProcess, examples: str
) -> None:
    page = profile(server).open(f"{examples}/messages.html").page
    page.get_by_label("Server").fill(server.url)
    page.get_by_label("Handle").fill("ada")
    page.get_by_label("Password").fill("something else")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("status")).to_have_text("The handle or the password is wrong.")


def test_the_example_is_as_short_as_it_is_said_to_be() -> None:
    script = re.search(
        r"<script.*?>\n(.*?)</script>", (ROOT / "examples/messages.html").read_text(), re.DOTALL
    )
    assert script is not None
    assert len([line for line in script[1].splitlines() if line.strip()]) <= 30
