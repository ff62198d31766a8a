"""Our server as `python -m app serve` starts it, to be killed, stopped and started again."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from app.settings import ENV_PREFIX
from app.storage.database import DATABASE_NAME
from scripts.benchmark.servers import Certificate
from scripts.faults.activation import handing_over
from scripts.unlimited import UNLIMITED

ROOT: Final = Path(__file__).parents[2]

SETTINGS: Final[Mapping[str, str]] = {
    # Limits that a trial would reach are off or high.
    **UNLIMITED,
    "MAX_CONNECTIONS": "1000000",
    "MAX_CONNECTIONS_PER_ADDRESS": "0",
    "MAX_CONNECTIONS_PER_USER": "1000000",
    "RETENTION_ROWS": "100000000",
    # There is no load balancer for which a stop would wait.
    "DRAIN_SECONDS": "0",
    # So that the server tells positions often.
    "HEARTBEAT_SECONDS": "5",
    "LOG_LEVEL": "warning",
    "LOG_FORMAT": "json",
}

START_SECONDS: Final = 180
"""Far more than a start takes, so that a machine with much else to do fails no trial."""
STOP_SECONDS: Final = 60


class Server:
    """A server that starts on the same folder and port each time.

    A `listener` is handed to it as systemd does. `program` is a module that runs the command
    line, with arguments of its own. With a `certificate` it serves TLS alone.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        listener: socket.socket | None = None,
        log: Path | None = None,
        program: Sequence[str] = ("app",),
        certificate: Certificate | None = None,
    ) -> None:
        self.folder = folder
        self._program = program
        self.log = log or folder / "log"
        self.port = _free_port() if listener is None else int(listener.getsockname()[1])
        self._listener = listener
        self.starts = 0
        self._settings = {**SETTINGS, **(settings or {})}
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.create_default_context(cafile=certificate.chain)
            self._settings["TLS_CERT"] = str(certificate.chain)
            self._settings["TLS_KEY"] = str(certificate.key)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    @property
    def database(self) -> Path:
        """The file of its database."""
        return self.folder / DATABASE_NAME

    @property
    def pid(self) -> int:
        """The id of the process that was started; raises RuntimeError when there is none."""
        return self._running.pid

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process

    def start(self, under: Sequence[str] = (), log_to: int | None = None) -> None:
        """Start the server, under another program if `under` names one, without waiting for it.

        Its log goes to the descriptor `log_to` if there is one, and otherwise to the file `log`.
        """
        own = {f"{ENV_PREFIX}{name}": value for name, value in self._settings.items()}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
        place = ["--port", str(self.port), "--data-dir", str(self.folder)]
        self.starts += 1
        kept = () if self._listener is None else (self._listener.fileno(),)
        ours = handing_over(self._listener, ["-m", *self._program, "serve", *place])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*under, *ours],
                pass_fds=kept,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log if log_to is None else log_to,
                cwd=ROOT,
                env={**inherited, **own},
            )

    def wait_until_healthy(self, seconds: float = START_SECONDS) -> None:
        """Wait until it answers; raises OSError when it ends or takes longer than that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._running.poll() is not None:
                raise OSError(f"the server ended at its start: {self._last_words()}")
            try:
                self.get("/health")
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise OSError(f"the server was not healthy after {seconds} s: {self._last_words()}")

    def wait_until_started(self) -> None:
        """Wait until it answers and has printed all it prints; raises OSError as that does."""
        self.wait_until_healthy()
        # Until then it reads its database, and would end if that were gone.
        deadline = time.monotonic() + START_SECONDS
        while self.log.read_text().count("\nAdd a user: ") < self.starts:
            if time.monotonic() > deadline:
                raise OSError(f"the server did not end its start: {self._last_words()}")
            time.sleep(0.01)

    def refuses(self, expected: int = 1) -> str:
        """Start it, and return what it says; raises OSError unless it ends with this status."""
        before = self.log.stat().st_size
        self.start()
        self.starts -= 1
        status = self._end()
        said = self.log.read_text()[before:].strip()
        if status != expected:
            raise OSError(f"the server ended with {status}, and did not refuse to start: {said}")
        return said

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self._running.kill()
        self._end()

    def stop(self, pid: int | None = None) -> None:
        """Stop it with SIGTERM and wait; raises OSError unless it exits with 0.

        `pid` is the server's own, when it runs under another program.
        """
        os.kill(pid or self.pid, signal.SIGTERM)
        status = self._end()
        if status:
            raise OSError(f"the server ended with {status}: {self._last_words()}")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it do nothing inside the block; what it wrote stays as it is at this instant."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def get(self, path: str) -> str:
        """Return the body of the answer to a GET; raises OSError, also for an error's answer."""
        status, body = self._ask(path, {})
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise OSError(f"GET {path} was answered with {status}")
        return body

    def metrics(self) -> dict[str, float]:
        """Return the value of each metric; labels belong to the name, as Prometheus writes them."""
        lines = (line for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        found = (line.rpartition(" ") for line in lines)
        return {name: float(value) for name, _, value in found}

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels; 0 if there is none."""
        return self.metrics().get(name, 0)

    def status(self, path: str, token: str | None = None) -> int:
        """Return the status of the answer to a GET; raises OSError when there is none."""
        return self._ask(path, {"Authorization": f"Bearer {token}"} if token else {})[0]

    def errors(self) -> list[str]:
        """Return the errors in its log, as lines."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if '"level":"error"' in line.replace(" ", "")]

    def _ask(self, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        place = ("127.0.0.1", self.port)
        connection = (
            http.client.HTTPConnection(*place, timeout=START_SECONDS)
            if self._tls is None
            else http.client.HTTPSConnection(*place, timeout=START_SECONDS, context=self._tls)
        )
        with closing(connection):
            try:
                connection.request("GET", path, headers=dict(headers))
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except http.client.HTTPException as error:
                raise OSError(f"GET {path} had no whole answer: {error}") from error

    def _end(self) -> int:
        status = self._running.wait(STOP_SECONDS)
        self._process = None
        return status

    def _last_words(self) -> str:
        return self.log.read_text()[-2000:]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
