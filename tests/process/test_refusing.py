"""A server that cannot start says why in one sentence."""

import ctypes
import os
import socket
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from damaging import flip
from serving import PATIENCE

from app.storage.database import DATABASE_NAME
from tests.cli.conftest import CommandLine
from tests.databases import place_database
from tests.process.conftest import Start
from tests.process.server import ROOT, allow_files, environment

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def obey_modes() -> None:
    """Have the program that starts next obey the modes of files and folders, also as root."""
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError("the capability cannot be dropped")


def be_limited(open_files: int | None) -> None:
    """Have the program that starts next obey modes, and open so many files."""
    obey_modes()
    if open_files is not None:
        allow_files(open_files)


def refusal(
    data_dir: Path,
    status: int,
    *flags: str,
    open_files: int | None = None,
    **settings: object,
) -> str:
    """Start a server that must end with this status; return the one sentence that says why."""
    outcome = subprocess.run(
        [sys.executable, "-m", "app", "serve", "--data-dir", str(data_dir), *flags],
        cwd=ROOT,
        env=environment({"port": 0, **settings}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        preexec_fn=partial(be_limited, open_files),
    )
    assert outcome.returncode == status, outcome.stderr
    assert outcome.stdout == ""
    # Log lines are objects; what is left was written for a person.
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("Error: ")
    assert lines[0].endswith(".")
    assert '"exception"' not in outcome.stderr
    return lines[0]


def test_a_second_server_on_the_folder(start: Start) -> None:
    server = start()
    sentence = refusal(server.data_dir, 1)
    assert f"pid {server.process.pid}" in sentence
    # It has not disturbed the first one.
    assert server.get("/ready")[0] == 200
    assert server.run.json("devices", "list") == []


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refusal(tmp_path / "data", 2, port=port)
    assert f"port {port}" in sentence
    assert "in use" in sentence
    CommandLine(tmp_path / "data").add()


def test_an_address_of_another_machine(tmp_path: Path) -> None:
    assert "192.0.2.1" in refusal(tmp_path / "data", 2, host="192.0.2.1")


def test_a_host_that_does_not_exist(tmp_path: Path) -> None:
    assert "no.such.host.invalid" in refusal(tmp_path / "data", 2, host="no.such.host.invalid")


@pytest.mark.parametrize("kind", ["missing", "folder", "unreadable"])
def test_certificate_files_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    certificate = tmp_path / "cert.pem"
    if kind == "folder":
        certificate.mkdir()
    elif kind == "unreadable":
        certificate.write_text("x")
        certificate.chmod(0)
    sentence = refusal(tmp_path / "data", 2, tls_cert=certificate, tls_key=certificate)
    assert str(certificate) in sentence


def test_certificate_files_that_are_garbage(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("-----BEGIN NONSENSE-----\nhunter2\n")
    sentence = refusal(
        tmp_path / "data", 2, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem"
    )
    assert "no certificate" in sentence
    assert "hunter2" not in sentence


def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    run.add()
    database = sqlite3.connect(tmp_path / DATABASE_NAME)
    with database:
        database.execute("UPDATE alembic_version SET version_num = 'of_the_future'")
    database.close()
    assert "newer version" in refusal(tmp_path, 2)


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_text("this is a letter to my aunt\n" * 100)
    assert "database" in refusal(tmp_path, 1)


@pytest.mark.parametrize("started_before", [False, True], ids=["empty", "used"])
def test_a_folder_in_which_nothing_may_be_written(tmp_path: Path, started_before: bool) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    if started_before:
        CommandLine(data_dir).add()
    data_dir.chmod(0o500)
    sentence = refusal(data_dir, 1)
    data_dir.chmod(0o700)
    assert str(data_dir) in sentence


def test_a_database_that_may_not_be_written(tmp_path: Path) -> None:
    CommandLine(tmp_path).add()
    (tmp_path / DATABASE_NAME).chmod(0o400)
    assert DATABASE_NAME in refusal(tmp_path, 1)


def test_a_folder_to_which_everybody_may_write(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o777)
    sentence = refusal(data_dir, 2)
    assert str(data_dir) in sentence
    assert "chmod go-w" in sentence
    assert list(data_dir.iterdir()) == []


def test_a_folder_that_others_may_use_is_warned_of(start: Start, tmp_path: Path) -> None:
    server = start()
    assert server.logged("others may use the data folder") == []
    server.end()
    (tmp_path / "data").chmod(0o770)
    (tmp_path / "data" / "cookie.key").chmod(0o644)
    [found] = start().logged("others may use the data folder")
    assert found["level"] == "warning"
    assert "data: its group may write to it (mode 0770)" in found["reason"]
    assert "cookie.key: others may read it (mode 0644)" in found["reason"]
    assert "chmod 600" in found["do"]


def test_a_port_that_kubernetes_made(tmp_path: Path) -> None:
    assert "Kubernetes" in refusal(tmp_path / "data", 2, port="tcp://10.0.0.5:8080")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert str(tmp_path / "data") in refusal(tmp_path / "data", 1)


def test_a_database_that_is_damaged_all_over(tmp_path: Path) -> None:
    place_database(tmp_path)
    flip(tmp_path / DATABASE_NAME, 3)
    sentence = refusal(tmp_path, 1)
    assert sentence == (
        "Error: The database is damaged (file is not a database): see docs/damaged-database.md."
    )
