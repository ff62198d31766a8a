"""The image, the unit and the examples for proxies, checked by their own tools."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from aiohttp import web

from app.cli.backup import backup
from app.settings import Settings
from tests.scripts.programs import program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, each as a word and the rest."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def last(word: str) -> str:
    return [rest for name, rest in instructions() if name == word][-1]


def unit(name: str = "switchboard.service") -> ConfigParser:
    config = ConfigParser(strict=False, interpolation=None)
    # Keys of systemd have capitals.
    config.optionxform = str  # type: ignore[assignment,method-assign]
    config.read(DEPLOY / name)
    return config


def settings_named_in(path: Path) -> set[str]:
    words = path.read_text().replace("=", " ").replace("(", " ").replace(",", " ").split()
    names = {word.strip("'\"`.)") for word in words if word.startswith("SWITCHBOARD_")}
    return {name.removeprefix("SWITCHBOARD_").lower() for name in names} - {"…"}


@pytest.mark.process
def test_the_dockerfile_is_clean_to_its_linter() -> None:
    command = [program("hadolint"), ROOT / "Dockerfile"]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout


def test_the_image_runs_as_nobody_in_particular() -> None:
    user, _, group = last("USER").partition(":")
    assert int(user) > 999
    assert int(group) > 999


def test_the_image_keeps_its_data_in_a_volume_that_its_user_may_write() -> None:
    volumes = json.loads(last("VOLUME"))
    assert f"SWITCHBOARD_DATA_DIR={volumes[0]}" in last("ENV")
    made = next(rest for word, rest in instructions() if word == "RUN" and "install -d" in rest)
    assert volumes[0] in shlex.split(made)


def test_the_image_is_reached_from_outside_and_asked_how_it_is() -> None:
    assert "SWITCHBOARD_HOST=0.0.0.0" in last("ENV")
    assert f"SWITCHBOARD_PORT={last('EXPOSE')}" in last("ENV")
    assert "healthcheck.py" in last("HEALTHCHECK")
    assert "curl" not in last("HEALTHCHECK")


def test_the_image_starts_the_server_without_a_shell_between() -> None:
    assert json.loads(last("ENTRYPOINT")) == ["python", "-m", "app"]
    assert json.loads(last("CMD")) == ["serve"]


def test_nothing_but_code_and_lock_can_get_into_the_image() -> None:
    rules = (ROOT / ".dockerignore").read_text().split("\n")
    assert rules[1] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    copied = {
        rest.split()[0] for word, rest in instructions() if word == "COPY" and "--from" not in rest
    }
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.process
def test_the_units_are_clean_to_systemd(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    copies = [tmp_path / path.name for path in sorted(DEPLOY.glob("switchboard*.*"))]
    assert len(copies) == 4
    for copy in copies:
        # systemd looks whether the program is there.
        text = (DEPLOY / copy.name).read_text()
        copy.write_text(text.replace("/opt/switchboard/.venv/bin/python", sys.executable))
    outcome = subprocess.run([analyze, "verify", *copies], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""


def test_the_unit_starts_the_server_and_gives_it_time_to_stop() -> None:
    service = unit()["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/python -m app serve")
    assert float(service["TimeoutStopSec"]) > Settings().shutdown_seconds
    assert int(service["LimitNOFILE"]) > Settings().max_connections


@pytest.mark.parametrize(
    "option", ["NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictNamespaces"]
)
@pytest.mark.parametrize("name", ["switchboard.service", "switchboard-backup.service"])
def test_the_units_are_hardened(option: str, name: str) -> None:
    service = unit(name)["Service"]
    assert service[option] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["User"] != "root"


def test_the_backup_is_of_the_servers_folder_into_one_that_it_may_write() -> None:
    server, service = unit()["Service"], unit("switchboard-backup.service")["Service"]
    for key in ("User", "WorkingDirectory", "Environment", "EnvironmentFile"):
        assert service[key] == server[key]
    words = shlex.split(service["ExecStart"].partition(" -m app ")[2])
    assert words[0] == "backup"
    backup.make_context("backup", words[1:])
    folder = Path(words[1])
    assert folder.is_absolute()
    assert folder.name in service["StateDirectory"].split()
    assert server["StateDirectory"] in service["StateDirectory"].split()


@pytest.mark.parametrize(
    "name",
    [
        *("switchboard.service", "switchboard.socket", "switchboard-backup.service"),
        *("nginx.conf", "Caddyfile"),
    ],
)
def test_every_setting_that_an_example_names_exists(name: str) -> None:
    named = settings_named_in(DEPLOY / name)
    assert named
    assert named <= Settings.model_fields.keys()


def nginx_directives() -> dict[str, list[str]]:
    """Return the directives of nginx.conf by name, without comments."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "nginx.conf").read_text().splitlines():
        if line.strip() and not line.strip().startswith("#"):
            word, _, rest = line.strip().rstrip(";").partition(" ")
            found.setdefault(word, []).append(rest)
    return found


def test_the_nginx_example_passes_what_the_server_needs() -> None:
    directives = nginx_directives()
    headers = dict(rest.split(" ", 1) for rest in directives["proxy_set_header"])
    assert headers["Upgrade"] == "$http_upgrade"
    assert headers["Host"] == "$http_host"
    assert headers["X-Forwarded-Proto"] == "$scheme"
    assert "$remote_addr" in headers["X-Forwarded-For"] or "add_x" in headers["X-Forwarded-For"]
    assert directives["proxy_http_version"] == ["1.1"]


def test_no_proxy_cuts_a_socket_between_two_heartbeats() -> None:
    heartbeat = Settings().heartbeat_seconds
    (nginx,) = nginx_directives()["proxy_read_timeout"]
    assert float(nginx.removesuffix("s")) > 2 * heartbeat
    caddy = (DEPLOY / "Caddyfile").read_text().split()
    assert float(caddy[caddy.index("read_timeout") + 1].removesuffix("s")) > 2 * heartbeat


@pytest.mark.process
def test_the_nginx_example_is_clean_to_nginx(tmp_path: Path) -> None:
    nginx = program("nginx")
    certificate(tmp_path)
    site = (DEPLOY / "nginx.conf").read_text()
    site = site.replace("/etc/letsencrypt/live/switchboard.example", str(tmp_path))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n"
        f"{site}\n}}\n"
    )
    command = [nginx, "-t", "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert "[warn]" not in outcome.stderr


@pytest.mark.process
def test_the_caddy_example_is_clean_to_caddy(tmp_path: Path) -> None:
    caddy = program("caddy")
    outcome = subprocess.run(
        [caddy, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile"],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
    )
    assert outcome.returncode == 0, outcome.stderr


def certificate(folder: Path) -> None:
    import trustme

    issued = trustme.CA().issue_cert("switchboard.example")
    issued.private_key_pem.write_to_path(folder / "privkey.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=request.app[STATUS])


STATUS = web.AppKey("status", int)


@pytest.fixture(params=[200, 503], ids=["healthy", "ill"])
async def health(request: pytest.FixtureRequest) -> AsyncIterator[tuple[int, int]]:
    app = web.Application()
    app[STATUS] = request.param
    app.add_routes([web.get("/health", _status)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1]), request.param
    await runner.cleanup()


async def check(port: int) -> int:
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, DEPLOY / "healthcheck.py", env={"SWITCHBOARD_PORT": str(port)}
    )
    return await process.wait()


@pytest.mark.process
async def test_the_health_check_tells_healthy_from_ill(health: tuple[int, int]) -> None:
    port, status = health
    assert await check(port) == (0 if status == 200 else 1)


@pytest.mark.process
async def test_the_health_check_fails_where_nobody_listens(unused_tcp_port: int) -> None:
    assert await check(unused_tcp_port) == 1
