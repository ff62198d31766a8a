"""Bare clones, the compiled programs of the benchmark, and a server as people start it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from scripts.benchmark import compiler
from scripts.benchmark.servers import Tools
from tests.scripts.clones import ROOT, make_clone, make_path
from tests.scripts.running import Running

PASSWORD = "correct horse battery"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone, as far as scripts/setup sees it, in which nothing was installed."""
    return make_clone(tmp_path / "a clone")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with the shell's tools and no Python."""
    return make_path(tmp_path / "bin")


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    folder = tmp_path_factory.mktemp("programs")
    floor, load = (compiler.compile_program(name, folder) for name in ("floor", "load"))
    return Tools(floor, load, folder)


def _certificate(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the server's options for TLS and the smoke test's."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    serving = ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]
    return serving, ("--ca-file", str(folder / "ca.pem"))


@pytest.fixture(scope="session", params=["http", "https"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Our server, started as people do, with one user."""
    folder = tmp_path_factory.mktemp("server")
    serving, options = _certificate(folder) if request.param == "https" else ([], ())
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SWITCHBOARD_")}
    place = ["--data-dir", str(folder / "data")]
    app = [sys.executable, "-m", "app"]
    subprocess.run(
        [*app, "users", "add", "anna", "--password-stdin", *place],
        input=PASSWORD + "\n",
        text=True,
        check=True,
        cwd=ROOT,
        env=clean,
        capture_output=True,
    )
    process = subprocess.Popen(
        [*app, "serve", "--port", "0", *place, *serving],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=clean,
    )
    try:
        yield Running(_url(process), "anna", PASSWORD, options)
    finally:
        process.terminate()
        process.communicate()


def _url(process: subprocess.Popen[str]) -> str:
    seen = []
    for line in process.stdout or ():
        seen.append(line)
        if found := re.search(r"https?://127\.0\.0\.1:\d+", line):
            return found[0]
    raise AssertionError(f"the server printed no URL: {''.join(seen)}")
