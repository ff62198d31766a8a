"""A server that speaks TLS itself, as people start it."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from serving import PATIENCE

from tests.cli.conftest import PASSWORD, CommandLine
from tests.process.server import ROOT, ServerProcess
from tests.tls.conftest import Authority

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    CommandLine(folder / "data").add()
    server = ServerProcess(folder, ca=authority.ca_file, **authority.files)
    yield server
    server.end()


@asynccontextmanager
async def client(server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session of aiohttp's client, and wait for the end of all its sockets after the block.

    aiohttp's client does not wait for the closing alert of TLS, but the loop must not close before.
    """
    sockets: list[socket.socket] = []

    def make(address: aiohttp.AddrInfoType) -> socket.socket:
        sockets.append(socket.socket(*address[:3]))
        return sockets[-1]

    connector = aiohttp.TCPConnector(ssl=server.client_tls or True, socket_factory=make)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as http:
        yield http
    async with asyncio.timeout(PATIENCE):
        while any(made.fileno() != -1 for made in sockets):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def certificate(server: ServerProcess) -> str:
    """Return the certificate that the server shows to a new connection."""
    return ssl.get_server_certificate(("127.0.0.1", server.port))


def on_disk(authority: Authority) -> str:
    return authority.files["tls_cert"].read_text()


async def test_two_libraries_talk_to_each_other_over_wss(server: ServerProcess) -> None:
    assert server.url.startswith("https://")
    assert server.get("/health")[0] == 200
    phone, laptop = await server.device("phone"), await server.device("laptop")
    async with (
        server.connected(phone) as one,
        client(server) as http,
        http.ws_connect(f"{server.url}/v1/ws", headers=laptop.by_header) as two,
    ):
        assert (await two.receive_json())["type"] == "connected"
        sent = {"to": "others", "type": "n.x", "payload": "Grüße" * 2000}
        await two.send_json({"type": "device.send", "payload": sent})
        assert (await one.receive())["payload"] == sent["payload"]
        await one.send("device.send", sent)
        assert (await two.receive_json())["payload"] == sent["payload"]


async def test_the_cookie_is_for_https_only_and_opens_the_socket(server: ServerProcess) -> None:
    async with client(server) as http:
        form = {
            "user_handle": "ada",
            "password": PASSWORD,
            "device_uuid": "device-of-a-page",
            "device_type": "web",
        }
        async with http.post(f"{server.url}/v1/auth/login", json=form) as answer:
            assert answer.status == 201
            assert answer.cookies["session_token"]["secure"]
            assert answer.cookies["session_token"]["httponly"]
        async with http.ws_connect(f"{server.url}/v1/ws", origin=server.url) as ws:
            assert (await ws.receive_json())["type"] == "connected"


async def test_a_client_that_does_not_know_the_authority_is_not_fooled(
    server: ServerProcess,
) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"{server.url}/health")


async def test_a_new_certificate_is_for_new_connections_and_a_broken_one_for_none(
    server: ServerProcess, authority: Authority
) -> None:
    first = on_disk(authority)
    assert await asyncio.to_thread(certificate, server) == first
    phone = await server.device("phone")
    async with server.connected(phone) as old:
        authority.sign()
        second = on_disk(authority)
        server.signal(signal.SIGHUP)
        await server.until_logged("certificate reloaded")
        assert await asyncio.to_thread(certificate, server) == second != first
        async with server.connected(phone, "?instance=new") as new:
            await old.silence()
            await new.silence()

        authority.files["tls_cert"].write_text("-----BEGIN NONSENSE-----\n")
        server.signal(signal.SIGHUP)
        [refusal] = await server.until_logged("certificate not reloaded")
        assert refusal["level"] == "error"
        assert "exception" not in refusal
        authority.files["tls_key"].unlink()
        server.signal(signal.SIGHUP)
        await server.until_logged("certificate not reloaded", 2)
        assert await asyncio.to_thread(certificate, server) == second
        await old.silence()
    assert len(server.logged("certificate reloaded")) == 1


def test_plain_http_and_garbage_on_the_port_cost_no_traceback(server: ServerProcess) -> None:
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + b"x" * 300, b""):
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(4096):
                pass
    assert server.get("/health")[0] == 200
    assert "Traceback" not in server.stderr.read_text()


def test_the_smoke_test_passes_with_our_authority(
    server: ServerProcess, authority: Authority
) -> None:
    outcome = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts/smoke.py"), server.url, "ada", PASSWORD),
            *("--ca-file", str(authority.ca_file)),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_stop_closes_sockets_under_tls_too(server: ServerProcess) -> None:
    async def closed() -> None:
        phone = await server.device("phone")
        async with server.connected(phone, "?resume=live") as peer:
            server.signal(signal.SIGTERM)
            assert (await peer.receive())["type"] == "goaway"
            assert await peer.closed() == (1001, "shutting_down")
        assert await server.status() == 0

    asyncio.run(closed())
    assert "Traceback" not in server.stderr.read_text()
