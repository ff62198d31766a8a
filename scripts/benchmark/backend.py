"""HTTP requests of an application's backend and of people who sign in, beside the load."""

import http.client
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from scripts.benchmark.load import LoadFailed
from scripts.benchmark.ours import environment
from scripts.benchmark.servers import ROOT

HANDLE = "bench"
PASSWORD = "correct horse battery"  # noqa: S105


def _command(folder: Path, *words: str, written: str = "") -> str:
    command = [sys.executable, "-m", "app", *words, "--data-dir", str(folder)]
    done = subprocess.run(
        command,
        input=written,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment({}),
        check=True,
    )
    return done.stdout.strip()


def add_person(folder: Path) -> None:
    """Add the user who signs in with a password."""
    _command(folder, "users", "add", HANDLE, "--password-stdin", written=PASSWORD + "\n")


def add_key(folder: Path) -> str:
    """Return a new API key that may send."""
    return _command(folder, "keys", "add", HANDLE, "--scope", "send").splitlines()[-1]


def post(port: int, path: str, body: dict[str, Any], key: str = "") -> dict[str, Any]:
    """Return the body of the answer; raises LoadFailed when the server answers with an error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        told = json.loads(answer.read() or b"{}")
    finally:
        connection.close()
    if answer.status >= 400:
        raise LoadFailed(f"POST {path} was answered with {answer.status} {told.get('code')}")
    return dict(told)


class SigningIn:
    """Signs a user in again and again, in a thread, until the block ends."""

    def __init__(self, port: int) -> None:
        self.times = 0
        self.failure: LoadFailed | None = None
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "SigningIn":
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, *__: object
    ) -> None:
        self._over.set()
        self._thread.join()
        if self.failure and not error:
            raise self.failure

    def _run(self) -> None:
        device = {"device_uuid": "bench-device-0001", "device_type": "web"}
        body = {"user_handle": HANDLE, "password": PASSWORD, **device}
        while not self._over.is_set():
            try:
                post(self._port, "/v1/auth/login", body)
            except LoadFailed as failure:
                self.failure = failure
                return
            self.times += 1
