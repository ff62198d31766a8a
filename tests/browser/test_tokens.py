"""Tokens that end every hour, in two tabs of a page of another origin: nobody notices.

An hour is `HOUR` seconds here, and the day has few of them. With `TOKENS_FOR_A_DAY=1` in the
environment the test takes 24 hours at 1:100, which are 15 minutes.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from playwright.sync_api import Browser, Page

from tests.browser.profile import PATIENCE, until
from tests.process.server import ServerProcess

SECRET = "a secret of the application, long enough"
JWTS = {
    "jwt_algorithm": "HS256",
    "jwt_secret": SECRET,
    "jwt_issuer": "https://app.example",
    "jwt_audience": "switchboard",
}

PAGE = """<!doctype html><title>Tokens</title><script type="module">
  const server = new URLSearchParams(location.search).get('server');
  const { createClient } = await import(`${server}/client/index.js`);
  const token = async () => {
    const answer = await fetch(`/token?${new URLSearchParams({ tab: name, on: client.status })}`);
    if (!answer.ok) throw new Error('the service is down');
    return answer.text();
  };
  const client = createClient({ url: server, token });
  const told = { statuses: [], reasons: [], arrived: [], stored: [], resets: 0, errors: [] };
  client.on('status', (status, { reason }) => {
    told.statuses.push(status);
    told.reasons.push(reason ?? '');
  });
  client.on('reset', () => told.resets++);
  client.on('error', (error) => told.errors.push(error.code ?? error.message));
  client.registerHandler('note', (type, { mark }) => void told.arrived.push(mark));
  const store = async (mark) => {
    await client.send('note.text', { mark }, { to: 'user', durable: true });
    told.stored.push(mark);
  };
  let count = 0;
  let timer;
  window.start = () => {
    timer = setInterval(() => store(`${name}-${++count}`), 150);
  };
  window.stop = () => clearInterval(timer);
  window.client = client;
  window.told = told;
  client.connect();
</script>"""


@dataclass(frozen=True, slots=True)
class Day:
    """How long an hour is, in seconds, how many there are, and what goes wrong at which of them."""

    hour: float
    hours: float
    down: tuple[tuple[float, float], ...]
    """The token service answers nothing; longer than an hour: every token has ended by then."""
    foreign: tuple[float, ...]
    """From here on the next token for a live connection is another user's, once for each tab."""


DAY = (
    Day(36, 24, down=((5.5, 6.6), (15.2, 15.4)), foreign=(10, 20))
    if "TOKENS_FOR_A_DAY" in os.environ
    else Day(3, 3.2, down=((1.4, 2.45),), foreign=(0,))
)


@dataclass
class TokenService:
    """The application: its page, and tokens for an hour to those who are signed in."""

    day: Day
    began: float = field(default_factory=time.monotonic)
    given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many tokens, by tab and by what for: `attempt`, `refresh` or `foreign`."""

    @property
    def hours(self) -> float:
        return (time.monotonic() - self.began) / self.day.hour

    def token(self, tab: str, status: str) -> str | None:
        if any(begin <= self.hours < end for begin, end in self.day.down):
            return None
        kind = "refresh" if status in ("connected", "catching-up") else "attempt"
        due = sum(self.hours >= begin for begin in self.day.foreign)
        if kind == "refresh" and self.given[tab, "foreign"] < due:
            kind = "foreign"
        self.given[tab, kind] += 1
        return self._signed("somebody-else" if kind == "foreign" else "customer-7")

    def _signed(self, sub: str) -> str:
        now = time.time()
        claims = {
            "iss": JWTS["jwt_issuer"],
            "aud": JWTS["jwt_audience"],
            "sub": sub,
            "device_id": "browser-0001",
            "iat": now - 1,
            "exp": now + self.day.hour,
            "jti": str(sum(self.given.values())),
        }
        return jwt.encode(claims, SECRET, algorithm="HS256")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer at the origin given."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                if url.path == "/token":
                    text, kind = service.token(query["tab"][0], query["on"][0]), "text/plain"
                else:
                    text, kind = PAGE, "text/html"
                self.send_response(503 if text is None else 200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write((text or "").encode())

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
            thread = Thread(target=listener.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{listener.server_port}"
            finally:
                listener.shutdown()
                thread.join()


def opened(new_page: Callable[[], Page], origin: str, server: str, name: str) -> Page:
    page = new_page()
    page.add_init_script(f"window.name = '{name}'")
    page.goto(f"{origin}/?server={server}")
    page.wait_for_function("window.client?.status === 'connected'", timeout=PATIENCE * 1000)
    return page


def test_tokens_of_an_hour_lose_and_double_nothing_in_two_tabs(
    built: None, browser: Browser, tmp_path: Path
) -> None:
    service = TokenService(DAY)
    with service.serving() as origin, browser.new_context() as context:
        lifetime = DAY.hours * DAY.hour + 5 * PATIENCE
        server = ServerProcess(tmp_path, lifetime=lifetime, allowed_origins=origin, **JWTS)
        try:
            tabs = [opened(context.new_page, origin, server.url, name) for name in "ab"]
            service.began = time.monotonic()
            for tab in tabs:
                tab.evaluate("start()")
            while service.hours < DAY.hours:
                tabs[0].wait_for_timeout(100)
            for tab in tabs:
                tab.evaluate("stop()")
            told = settled(tabs)
        finally:
            server.end()
    stored = [mark for one in told for mark in one["stored"]]
    assert len(stored) == len(set(stored)) > DAY.hours * DAY.hour
    for name, one in zip("ab", told, strict=True):
        assert sorted(one["arrived"]) == sorted(stored)
        assert one["resets"] == 0
        assert "signed-out" not in one["statuses"]
        assert set(one["errors"]) <= {"the service is down", "invalid_token"}
        assert service.given[name, "foreign"] == len(DAY.foreign)
        assert service.given[name, "refresh"] >= DAY.hours // 2
        # The service was down for longer than a token lives, so this loss alone was due.
        assert "session_expired" in one["reasons"]
    assert told[0]["arrived"][-1] == told[1]["arrived"][-1]


def settled(tabs: list[Page]) -> list[dict[str, Any]]:
    """Return what the tabs were told, once each has all that any of them stored."""

    def told() -> list[dict[str, Any]]:
        return [tab.evaluate("({ ...told, waiting: client.outboxSize })") for tab in tabs]

    def complete() -> bool:
        now = told()
        stored = {mark for one in now for mark in one["stored"]}
        return all(not one["waiting"] and stored <= set(one["arrived"]) for one in now)

    until(complete, "each message in each tab")
    return told()
