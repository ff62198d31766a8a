"""The examples of deploy/, by the proxies themselves, before a server."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from serving import PATIENCE, Server

from app.settings import Settings
from tests.scripts.programs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = "switchboard.example"

pytestmark = pytest.mark.process


@dataclass
class Answer:
    """What came for a request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """Return the problem, which agrees with the status."""
        assert self.headers["content-type"].startswith("application/problem+json"), self
        problem = json.loads(self.body)
        assert isinstance(problem, dict)
        assert problem["status"] == self.status
        assert {"type", "title", "detail"} <= problem.keys()
        return problem


@dataclass
class Proxy:
    """A proxy that runs before a port of this machine."""

    port: int
    trust: ssl.SSLContext

    async def ask(self, request: bytes) -> Answer:
        """Return the answer to these bytes, which ask for a close after it."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trust, server_hostname=NAME, limit=1 << 20
        )
        writer.write(request)
        try:
            async with asyncio.timeout(PATIENCE):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (x.split(": ", 1) for x in lines)}
                size = int(headers.get("content-length", "0"))
                return Answer(int(first.split()[1]), headers, await reader.readexactly(size))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to GET."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        return await self.ask(
            f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{lines}\r\n".encode()
        )

    async def post(self, headers: str, body: bytes = b"") -> Answer:
        """Return the answer to a sign-in with these headers, each with CR and LF, and body."""
        head = f"POST /v1/auth/login HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n{headers}\r\n"
        return await self.ask(head.encode() + body)


def configure_nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """Write a configuration with the example as its site, on this port; return the command."""
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in (
        ("/etc/letsencrypt/live/switchboard.example", str(folder)),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("    listen [::]:443 ssl;\n", ""),
        ("listen 80;", f"listen unix:{folder}/plain;"),
        ("    listen [::]:80;\n", ""),
    ):
        assert old in site
        site = site.replace(old, new)
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off;\n{paths}{site}\n}}\n"
    )
    file = str(folder / "nginx.conf")
    return [program("nginx"), "-e", "stderr", "-p", str(folder), "-c", file]


def configure_caddy(folder: Path, port: int, upstream: int) -> list[str]:
    """Write a configuration with the example as its site, on this port; return the command."""
    site = (DEPLOY / "Caddyfile").read_text()
    for old, new in (
        (
            f"\n{NAME} {{\n",
            f"\n{NAME}:{port} {{\n\ttls {folder}/fullchain.pem {folder}/privkey.pem\n",
        ),
        ("127.0.0.1:8080", f"127.0.0.1:{upstream}"),
    ):
        assert old in site
        site = site.replace(old, new)
    options = "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n}\n"
    (folder / "Caddyfile").write_text(options + site)
    file = str(folder / "Caddyfile")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", file]


PROXIES: dict[str, Callable[[Path, int, int], list[str]]] = {
    "nginx": configure_nginx,
    "caddy": configure_caddy,
}


@asynccontextmanager
async def running(name: str, folder: Path, port: int, upstream: int) -> AsyncIterator[Proxy]:
    """Run the proxy before the port inside the block."""
    authority = trustme.CA()
    issued = authority.issue_cert(NAME)
    issued.private_key_pem.write_to_path(folder / "privkey.pem")
    for part in issued.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    command = PROXIES[name](folder, port, upstream)
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            await until_it_listens(process, port)
        yield Proxy(port, trust)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until_it_listens(process: asyncio.subprocess.Process, port: int) -> None:
    while True:
        assert process.returncode is None, "the proxy does not start"
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)  # Nothing announces it.
        else:
            writer.close()
            return


@pytest.fixture(params=PROXIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def proxy(name: str, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[Proxy]:
    """Return the proxy before a server."""
    async with (
        Server(tmp_path / "data", trusted_proxies="127.0.0.1") as server,
        running(name, tmp_path, unused_tcp_port, server.port) as proxy,
    ):
        yield proxy


@pytest.fixture
async def lonely(
    name: str, tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[Proxy]:
    """Return the proxy before a port at which nobody listens."""
    port, upstream = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with running(name, tmp_path, port, upstream) as proxy:
        yield proxy


async def test_what_is_too_large_is_a_problem_through_the_proxy(proxy: Proxy) -> None:
    body = b"x" * (6 << 20)
    large = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    told = {
        "a body": (await proxy.post(large, body), 413, "too_large"),
        "a path": (await proxy.get(f"/{'x' * 9000}"), 414, "uri_too_long"),
        "a field": (await proxy.get(headers={"Cookie": "x" * 16_500}), 431, "headers_too_large"),
        "a token": (
            await proxy.get("/v1/auth/session", {"Authorization": "x" * 16_300}),
            401,
            "unauthorized",
        ),
    }
    seen = {what: (answer.status, answer.problem["code"]) for what, (answer, *_) in told.items()}
    assert seen == {what: (status, code) for what, (_, status, code) in told.items()}


@pytest.mark.parametrize("name", ["nginx"])
async def test_what_nginx_itself_finds_too_long_is_a_problem(proxy: Proxy) -> None:
    answer = await proxy.get(f"/{'x' * 40_000}")
    assert (answer.status, answer.problem["code"]) == (414, "uri_too_long")
    answer = await proxy.get(headers={"Cookie": "x" * 40_000})
    assert (answer.status, answer.problem["code"]) == (431, "headers_too_large")
    answer = await proxy.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")


async def test_metrics_are_nothing_that_the_proxy_knows(proxy: Proxy) -> None:
    answer = await proxy.get("/metrics")
    assert (answer.status, answer.problem["code"]) == (404, "not_found")


async def test_refusals_of_the_server_go_through_as_they_are(proxy: Proxy) -> None:
    answer = await proxy.get("/v1/auth/session")
    assert (answer.status, answer.problem["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert (await proxy.get("/health")).status == 200


async def test_a_server_that_is_not_there_is_a_problem_to_come_back_from(
    lonely: Proxy,
) -> None:
    answer = await lonely.get("/v1/auth/session")
    assert (answer.status, answer.problem["code"]) == (502, "bad_gateway")
    assert int(answer.headers["retry-after"]) > 0


def test_no_proxy_keeps_a_connection_for_as_long_as_the_server() -> None:
    ours = Settings().keepalive_seconds
    nginx = (DEPLOY / "nginx.conf").read_text().split()
    caddy = (DEPLOY / "Caddyfile").read_text().split()
    for theirs in (
        nginx[nginx.index("keepalive_timeout") + 1],
        caddy[caddy.index("keepalive") + 1],
    ):
        assert float(theirs.strip("s;")) < ours
