"""scripts/screenshots: pictures of every screen, of a server of its own with made-up people."""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

ROOT: Final = Path(__file__).parents[1]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
PASSWORD: Final = secrets.token_urlsafe(12)
PATIENCE_MS: Final = 20_000

PEOPLE: Final = ("grace", "katherine", "margaret", "radia", "barbara")
AWAY: Final = (("Living room TV", "android_tv"), ("Old tablet", "android"))
ONLINE: Final = (("Ada's phone", "android", 1), ("Kitchen tablet", "web", 2))
MESSAGES: Final[tuple[tuple[str, object, tuple[str, ...]], ...]] = (
    ("note.text", {"text": "Dinner at seven?"}, ()),
    ("player.track", {"title": "So What", "artist": "Miles Davis", "position": 42.5}, ()),
    ("list.added", {"list": "Groceries", "item": "Milk"}, ("--store", "log")),
    ("app.theme", "dark", ("--store", "latest", "--key", "theme")),
    ("note.text", {"text": "Bring the good bread."}, ("--store", "log")),
)

SCREENS: Final = {
    "devices": "/",
    "playground": "/playground",
    "connection": "/connection",
    "admin-users": "/admin/users",
    "admin-connections": "/admin/connections",
    "admin-limits": "/admin/limits",
    "not-found": "/no/such/page",
}
FLOOD: Final = """() => new Promise((closed) => {
  const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/v1/ws`);
  socket.onclose = closed;
  socket.onopen = () => {
    for (let count = 0; count < 300; count += 1) socket.send('{"type": "ping"}');
    socket.close();
  };
})"""
"""More messages at once than one connection may send."""

SIZES: Final[dict[str, ViewportSize]] = {
    "desktop": {"width": 1280, "height": 800},
    "phone": {"width": 390, "height": 844},
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A running server, and commands on its data folder."""

    url: str
    data_dir: Path

    def run(self, *arguments: str, stdin: str = "") -> None:
        """Run a command on the server's data folder; raises CalledProcessError when it fails."""
        command = [sys.executable, "-m", "app", *arguments, "--data-dir", str(self.data_dir)]
        subprocess.run(
            command, cwd=ROOT, env=_environment(), input=stdin, text=True, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def add_user(self, handle: str, *options: str) -> None:
        self.run("users", "add", handle, "--password-stdin", *options, stdin=f"{PASSWORD}\n")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "SWITCHBOARD_" not in name}


@contextmanager
def running_server() -> Iterator[Stage]:
    """Give a server on a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        place = ("--port", "0", "--data-dir", str(data_dir))
        command = [sys.executable, "-m", "app", "serve", "--json", "--log-level", "error", *place]
        with subprocess.Popen(
            command, cwd=ROOT, env=_environment(), text=True, stdout=subprocess.PIPE
        ) as process:
            try:
                announced = process.stdout.readline() if process.stdout else ""
                yield Stage(json.loads(announced)["url"], data_dir)
            finally:
                process.terminate()


def sign_in(context: BrowserContext, handle: str, name: str, kind: str = "web") -> None:
    """Give the context the cookie of this device of the user."""
    device = {"device_type": kind, "device_name": name, "device_uuid": f"{handle}-{kind}-{name}"}
    device["device_uuid"] = "".join(c for c in device["device_uuid"] if c.isalnum())[:64]
    credentials = {"user_handle": handle, "password": PASSWORD}
    answer = context.request.post("/v1/auth/login", data={**credentials, **device})
    if not answer.ok:
        raise RuntimeError(f"{handle} could not sign in: {answer.text()}")


def connect(context: BrowserContext, path: str = "/") -> Page:
    """Return a page of the context that is connected."""
    page = context.new_page()
    page.goto(path)
    dot = page.get_by_test_id("status")
    expect(dot).to_have_attribute("data-status", "connected", timeout=PATIENCE_MS)
    return page


def fill(stage: Stage, browser: Browser) -> None:
    """Add people and devices, some of which stay connected until the browser closes."""
    stage.add_user("ada", "--admin")
    for handle in PEOPLE:
        stage.add_user(handle)
    stage.run("users", "disable", PEOPLE[-1])
    for name, kind in AWAY:
        sign_in(browser.new_context(base_url=stage.url), "ada", name, kind)
    for name, kind, tabs in ONLINE:
        context = browser.new_context(base_url=stage.url)
        sign_in(context, "ada", name, kind)
        for _ in range(tabs):
            connect(context)
    for handle in PEOPLE[:2]:
        context = browser.new_context(base_url=stage.url)
        sign_in(context, handle, f"{handle.title()}'s laptop")
        connect(context).evaluate(FLOOD)
    _write_too_much(stage, browser, PEOPLE[2])


def _write_too_much(stage: Stage, browser: Browser, handle: str) -> None:
    """Have a user rename a device until the server refuses it."""
    context = browser.new_context(base_url=stage.url)
    sign_in(context, handle, "Script")
    [device] = context.request.get("/v1/devices").json()["devices"]
    path, data = f"/v1/devices/{device['id']}", {"device_name": "Script"}
    while context.request.patch(path, data=data).ok:
        pass
    context.close()


def photograph(stage: Stage, browser: Browser, folder: Path, scheme: Any, size: str) -> None:
    """Save a picture of every screen of this kind in the folder."""
    context = browser.new_context(
        base_url=stage.url,
        color_scheme=scheme,
        viewport=SIZES[size],
        device_scale_factor=2 if size == "phone" else 1,
        is_mobile=size == "phone",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto("/sign-in")
    _shoot(page, folder / f"sign-in-{scheme}-{size}.png")
    page.close()
    sign_in(context, "ada", "Work laptop")
    page = connect(context)
    for name, path in SCREENS.items():
        page.goto(path)
        if name == "playground":
            _let_arrive(stage, page)
        _shoot(page, folder / f"{name}-{scheme}-{size}.png")
    context.close()


def _let_arrive(stage: Stage, page: Page) -> None:
    dot = page.get_by_test_id("status")
    expect(dot).to_have_attribute("data-status", "connected", timeout=PATIENCE_MS)
    for kind, payload, options in MESSAGES:
        stage.run("send", kind, json.dumps(payload), "--user", "ada", *options)
    newest = page.get_by_test_id("message").filter(has_text="good bread")
    expect(newest.first).to_be_visible(timeout=PATIENCE_MS)


def _shoot(page: Page, path: Path) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, full_page=True, animations="disabled")


def main(arguments: list[str]) -> int:
    """Save the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go; made when missing")
    folder = parser.parse_args(arguments).folder
    folder.mkdir(parents=True, exist_ok=True)
    [path, *_] = filter(None, map(shutil.which, BROWSERS))
    # Root, as in a container, has no sandbox.
    flags = ["--no-sandbox", "--disable-gpu"]
    with running_server() as stage, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        fill(stage, browser)
        for size in SIZES:
            for scheme in ("light", "dark"):
                photograph(stage, browser, folder, scheme, size)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
