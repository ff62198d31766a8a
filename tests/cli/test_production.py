"""`check --production` names what is unsafe, with what to do about it."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.fernet import Fernet

from app.base.options import Kind
from app.cli.production import MACHINE, judge
from app.cli.surroundings import Surroundings, file_system_of, running_server
from app.settings import OPTIONS, load_settings
from app.storage.lock import DataDirLock
from tests.cli.conftest import CommandLine
from tests.process.server import ROOT, environment

RANDOM = "hG3_tkQ9vXw2LrB7uNzYc5mPjDfA8sEo"
GOOD = Surroundings(user=1000, umask=0o022, descriptors=65_536, file_system="ext4")
"""What deploy/switchboard.service grants."""

DAY = timedelta(days=1)


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, Path]:
    """A certificate and its key."""
    return certificate(tmp_path, datetime.now(UTC) + 60 * DAY)


def certificate(folder: Path, ends: datetime) -> dict[str, Path]:
    made = trustme.CA().issue_cert("sb.example", not_before=ends - 90 * DAY, not_after=ends)
    cert, key = folder / "cert.pem", folder / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    return {"tls_cert": cert, "tls_key": key}


def told(around: Surroundings = GOOD, **flags: Any) -> dict[str, str]:
    """Return what is found, by what it is about."""
    flags.setdefault("data_dir", "/nowhere")
    return {one.about: f"{one.fault}; {one.do}" for one in judge(load_settings(flags), around)}


def test_the_defaults_lack_only_a_proxy_or_tls() -> None:
    assert list(told()) == ["trusted_proxies"]
    assert told(trusted_proxies="127.0.0.1,::1") == {}


def test_tls_of_ours_on_every_address_is_safe(pem: dict[str, Path]) -> None:
    assert told(host="::", hsts_seconds=31_536_000, **pem) == {}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sb.example", "localhost.example"])
def test_a_network_without_tls_is_unsafe_also_behind_a_proxy(host: str) -> None:
    found = told(host=host, trusted_proxies="192.0.2.7")
    assert list(found) == ["host"]
    assert host in found["host"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.8.0.1", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert told(host=host, trusted_proxies="192.0.2.7") == {}


@pytest.mark.parametrize(
    ("network", "wide"),
    [
        ("0.0.0.0/1", True),
        ("192.0.0.0/7", True),
        ("2000::/3", True),
        ("10.0.0.0/8", True),
        ("172.16.0.0/12", True),
        ("fd00::/8", True),
        ("127.0.0.0/8", False),
        ("10.2.0.0/16", False),
        ("192.168.0.0/16", False),
        ("fd12:3456:789a::/48", False),
        # As a large content network names its own.
        ("104.16.0.0/13", False),
        ("2a06:98c0::/29", False),
    ],
)
def test_a_network_of_more_than_proxies_is_wide(network: str, wide: bool) -> None:
    found = told(trusted_proxies=network)
    assert list(found) == (["trusted_proxies"] if wide else [])
    assert not wide or str(ip_network(network)) in found["trusted_proxies"]


UNSAFE = {
    "an origin of http": ("allowed_origins", "https://a.b,http://app.example"),
    "an address of http": ("allowed_origins", "http://192.0.2.1:8080"),
    "a short token": ("metrics_token", RANDOM[:31]),
    "a token of one character": ("metrics_token", "x" * 40),
    "a token with a word": ("metrics_token", f"MetricsSecret{RANDOM}"),
    "a token in a row": ("metrics_token", "0123456789" * 4),
    "an even cookie key": ("cookie_keys", "A" * 43 + "="),
    "debug": ("log_level", "debug"),
    "large messages": ("max_message_bytes", 16_777_216),
    "no limit on failed sign-ins": ("login_attempts", 0),
    "no limit on messages": ("messages_per_second", 0),
    "no limit on bytes": ("bytes_per_second", 0),
    "no limit on durable messages": ("durable_per_second", 0),
    "no limit on an address": ("max_connections_per_address", 0),
    "no limit on ids": ("message_ids_per_user", 0),
}


@pytest.mark.parametrize(("name", "value"), UNSAFE.values(), ids=UNSAFE)
def test_a_setting_is_unsafe(name: str, value: object) -> None:
    found = told(trusted_proxies="127.0.0.1", **{name: value})
    assert list(found) == [name]
    assert not OPTIONS[name].secret or str(value) not in found[name]


SAFE = {
    "origins of https and of apps": (
        "allowed_origins",
        "https://a.b,capacitor://localhost,http://localhost,http://127.0.0.1:8000,http://[::1]",
    ),
    "a long token": ("metrics_token", RANDOM),
    "a token in hexadecimal": ("metrics_token", "9f86d081884c7d659a2feaa0c55ad015"),
    "a cookie key": ("cookie_keys", Fernet.generate_key().decode()),
    "no limit on the ids of a backend, as by default": ("message_ids_per_key", 0),
    "a limit that is higher": ("messages_per_second", 10_000),
}


@pytest.mark.parametrize(("name", "value"), SAFE.values(), ids=SAFE)
def test_a_setting_is_safe(name: str, value: object) -> None:
    assert told(trusted_proxies="127.0.0.1", **{name: value}) == {}


def test_every_limit_that_can_be_switched_off_is_unsafe_then() -> None:
    kind: Kind = "number"
    limits = [
        option.name
        for option in OPTIONS.values()
        if option.kind == kind and "0 = no limit" in option.what and option.default
    ]
    assert len(limits) >= 6
    assert list(told(trusted_proxies="127.0.0.1", **dict.fromkeys(limits, 0))) == limits


def test_a_jwt_secret_that_is_guessable_is_unsafe() -> None:
    jwt = {"jwt_algorithm": "HS256", "jwt_issuer": "i", "jwt_audience": "a"}
    safe = {"trusted_proxies": "127.0.0.1", **jwt}
    assert told(**safe, jwt_secret=RANDOM) == {}
    for secret in ("a" * 32, "change-me-change-me-change-me-now", f"password{RANDOM}"):
        found = told(**safe, jwt_secret=secret)
        assert list(found) == ["jwt_secret"]
        assert secret not in found["jwt_secret"]


@pytest.mark.parametrize(
    ("days", "says"), [(-1, "ended on"), (3, "ends on"), (8, None)], ids=["past", "soon", "later"]
)
def test_a_certificate_that_ends_is_unsafe(tmp_path: Path, days: int, says: str | None) -> None:
    found = told(**certificate(tmp_path, datetime.now(UTC) + days * DAY))
    assert list(found) == (["tls_cert"] if says else [])
    assert not says or says in found["tls_cert"]


def test_a_certificate_that_cannot_be_used_is_named(pem: dict[str, Path]) -> None:
    pem["tls_cert"].write_text("no certificate")
    assert "no certificate with its key" in told(**pem)["tls_cert"]
    pem["tls_cert"].unlink()
    assert "cannot be read" in told(**pem)["tls_cert"]


@pytest.mark.parametrize(("mode", "unsafe"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_key_that_everybody_may_read_is_unsafe(
    pem: dict[str, Path], mode: int, unsafe: bool
) -> None:
    pem["tls_key"].chmod(mode)
    assert list(told(**pem)) == (["tls_key"] if unsafe else [])


@pytest.mark.parametrize("mode", [0o755, 0o775, 0o777], ids="{:o}".format)
def test_a_folder_that_others_may_use_is_unsafe(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    around = replace(GOOD, user=os.geteuid() or GOOD.user)
    found = told(around, trusted_proxies="127.0.0.1", data_dir=tmp_path)
    assert list(found) == ["data_dir"]
    assert f"mode {mode:04o}" in found["data_dir"]


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "overlay", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_file_system_that_keeps_nothing_or_is_far_away_is_unsafe(kind: str) -> None:
    found = told(replace(GOOD, file_system=kind), trusted_proxies="127.0.0.1")
    assert list(found) == ["data_dir"]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"user": 0}, "root"),
        ({"umask": 0o002}, "umask"),
        ({"umask": 0}, "umask"),
        ({"descriptors": 4096}, "open_files"),
        ({"unknown_variables": ("SWITCHBOARD_PROT is no setting.",)}, "environment"),
    ],
    ids=str,
)
def test_a_machine_is_unsafe(change: dict[str, Any], about: str) -> None:
    assert list(told(replace(GOOD, **change), trusted_proxies="127.0.0.1")) == [about]


def test_fewer_connections_need_fewer_open_files() -> None:
    few = replace(GOOD, descriptors=4096, umask=None)
    assert told(few, trusted_proxies="127.0.0.1", max_connections=1000) == {}


MOUNTS = """\
21 1 252:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 21 0:27 / /tmp rw,nosuid - tmpfs tmpfs rw
31 21 0:28 / /srv/my\\040data rw - nfs4 box:/x rw
32 21 0:29 / /srv/twice rw - nfs4 box:/y rw
33 32 0:30 / /srv/twice rw master:7 - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib/switchboard", "ext4"),
        ("/tmp/data", "tmpfs"),
        ("/tmp", "tmpfs"),
        ("/tmpfoo/data", "ext4"),
        ("/srv/my data/sb", "nfs4"),
        ("/srv/twice", "xfs"),
    ],
)
def test_a_folder_is_on_what_was_mounted_last_over_it(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind
    assert file_system_of(Path(folder), "") == ""


def test_a_server_is_found_by_its_lock(tmp_path: Path) -> None:
    assert running_server(tmp_path) is None
    with DataDirLock(tmp_path):
        assert running_server(tmp_path) == os.getpid()
    # Its number stays in the file.
    assert running_server(tmp_path) is None


# The command

LEFT_OUT = [word for name in ("data_dir", *MACHINE) for word in ("--except", name)]
"""What depends on the machine that runs the tests, and on where temporary files are."""


def test_the_command_names_each_with_what_to_do_and_fails(run: CommandLine) -> None:
    result = run("check", "--production", "--host", "0.0.0.0", *LEFT_OUT, status=1)
    text = " ".join(result.stdout.split())
    assert "host 0.0.0.0 is not loopback" in text
    assert "Set tls_cert and tls_key, or listen on 127.0.0.1" in text
    assert "Unsafe: 2 findings." in text
    assert not run.data_dir.exists()


def test_the_command_succeeds_when_nothing_is_found(run: CommandLine) -> None:
    behind = ("check", "--production", "--trusted-proxies", "127.0.0.1", *LEFT_OUT)
    assert run(*behind).stdout.startswith("Nothing unsafe was found.")
    assert run.json(*behind) == {"safe": True, "findings": []}


def test_what_the_operator_has_judged_is_left_out(run: CommandLine) -> None:
    judged = ("--except", "host", "--except", "trusted_proxies")
    result = run("check", "--production", "--host", "0.0.0.0", *judged, *LEFT_OUT)
    assert "Left out: " in result.stdout


def test_what_the_server_refuses_is_unsafe_too(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "sesame")
    monkeypatch.setenv("SWITCHBOARD_TRUSTED_PROXIES", "0.0.0.0/0")
    monkeypatch.setenv("SWITCHBOARD_PORT", "tcp://10.0.0.5:8080")
    monkeypatch.setenv("SWITCHBOARD_JWT_ALGORITHM", "HS256")
    monkeypatch.setenv("SWITCHBOARD_JWT_SECRET", "sesame")
    monkeypatch.setenv("SWITCHBOARD_TLS_CERT", "cert.pem")
    monkeypatch.setenv("SWITCHBOARD_LOGIN_ATTEMPTS", "0")
    result = run("check", "--production", "--json", *LEFT_OUT, status=1)
    assert "sesame" not in result.output
    for name in ("metrics_token", "trusted_proxies", "port", "jwt_algorithm", "login_attempts"):
        assert f'"about":"{name}"' in result.stdout
    assert '"about":"tls_cert"' in result.stdout


def test_a_flag_that_would_have_no_effect_is_wrong_usage(run: CommandLine) -> None:
    for flags in (("--host", "::"), ("--except", "host")):
        assert "--production" in run.refused("check", *flags, status=2)
    assert "no such setting" in run.refused("check", "--production", "--except", "hots", status=2)


@pytest.mark.process
def test_the_process_that_is_judged_is_the_servers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    # Only root becomes somebody else.
    user = 4711 if os.geteuid() == 0 else os.geteuid()
    holder = (
        "import os,sys,pathlib;from app.storage.lock import DataDirLock;os.umask(0o002);"
        "DataDirLock(pathlib.Path(sys.argv[1])).acquire();os.seteuid(int(sys.argv[2]));"
        "print();input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(data), str(user)],
        cwd=ROOT,
        env=environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = Surroundings.look(data)
    assert (seen.user, seen.umask) == (user, 0o002)
