"""Signing in and out of a server elsewhere."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.listen.listener import Access
from app.listen.signing import Credentials, ListenEnded, sign_in, sign_out, trust

CREDENTIALS = Credentials("ada", "correct horse", "device-0001", "unknown", "laptop")


class Accounts:
    """Answers sign-ins with what a test put into `answer`."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] = (201, {"token": "t0ken"})
        self.bodies: list[Any] = []
        self.signed_out: list[str] = []
        self.app = web.Application()
        self.app.router.add_post("/v1/auth/login", self._login)
        self.app.router.add_post("/v1/auth/logout", self._logout)

    async def _login(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return web.json_response(self.answer[1], status=self.answer[0])

    async def _logout(self, request: web.Request) -> web.Response:
        self.signed_out.append(request.headers["Authorization"])
        return web.json_response({})


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
async def url(accounts: Accounts) -> AsyncIterator[str]:
    server = TestServer(accounts.app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def test_it_signs_in_as_the_device_it_is(accounts: Accounts, url: str) -> None:
    assert await sign_in(url, None, CREDENTIALS) == "t0ken"
    [body] = accounts.bodies
    assert body == {
        "user_handle": "ada",
        "password": "correct horse",
        "device_uuid": "device-0001",
        "device_type": "unknown",
        "device_name": "laptop",
    }


@pytest.mark.parametrize(
    "answer",
    [(401, {"detail": "The handle or the password is wrong."}), (201, {}), (500, "oops")],
)
async def test_a_refusal_is_a_sentence_with_the_servers_reason(
    accounts: Accounts, url: str, answer: tuple[int, Any]
) -> None:
    accounts.answer = answer
    reason = answer[1].get("detail", url) if isinstance(answer[1], dict) else url
    with pytest.raises(ListenEnded, match=rf"\({answer[0]}\): {reason}"):
        await sign_in(url, None, CREDENTIALS)


async def test_no_repr_shows_a_secret() -> None:
    assert "horse" not in repr(CREDENTIALS)
    assert "t0ken" not in repr(Access("http://x", "t0ken"))


async def test_signing_out_presents_the_token(accounts: Accounts, url: str) -> None:
    await sign_out(url, None, "t0ken")
    assert accounts.signed_out == ["Bearer t0ken"]


async def test_signing_out_of_a_server_that_has_gone_is_no_error(unused_tcp_port: int) -> None:
    await sign_out(f"http://127.0.0.1:{unused_tcp_port}", None, "t0ken")


@pytest.fixture
async def tls(accounts: Accounts, tmp_path: Path) -> AsyncIterator[tuple[str, Path, Path]]:
    """A server with a certificate for another name: its url, certificate and authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("chat.example.org")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = TestServer(accounts.app)
    await server.start_server(ssl=context)
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    url = str(server.make_url("")).rstrip("/")
    yield url, tmp_path / "certificate.pem", tmp_path / "authority.pem"
    await server.close()


async def test_this_hosts_own_certificate_is_trusted_whatever_its_name(
    tls: tuple[str, Path, Path],
) -> None:
    url, certificate, _ = tls
    assert await sign_in(url, trust(certificate, this_host=True), CREDENTIALS) == "t0ken"


async def test_a_certificate_for_another_name_is_refused(tls: tuple[str, Path, Path]) -> None:
    url, _, authority = tls
    with pytest.raises(ListenEnded):
        await sign_in(url, trust(authority), CREDENTIALS)


async def test_an_unknown_authority_is_refused_with_a_hint(tls: tuple[str, Path, Path]) -> None:
    url, _, _ = tls
    with pytest.raises(ListenEnded, match="--insecure-ca"):
        await sign_in(url, None, CREDENTIALS)


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    with pytest.raises(ListenEnded, match="not a readable PEM certificate"):
        trust(tmp_path / "x.pem")
