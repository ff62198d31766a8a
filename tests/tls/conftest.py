"""An authority of our own, its certificates, and servers that speak TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from serving import Server

from app.server import tls_context
from app.settings import Settings

Serve = Callable[..., Awaitable[Server]]

HOSTS = ("127.0.0.1", "localhost")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on both loops what has its server in the test's own process."""
    if "serve" in getattr(item, "fixturenames", ()):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Authority:
    """Who signs the certificates, with the files of the newest one."""

    ca: trustme.CA
    folder: Path

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def files(self) -> dict[str, Path]:
        return {"tls_cert": self.folder / "cert.pem", "tls_key": self.folder / "key.pem"}

    def sign(self) -> None:
        """Put a new certificate into the files."""
        made = self.ca.issue_cert(*HOSTS)
        made.private_key_pem.write_to_path(str(self.folder / "key.pem"))
        made.cert_chain_pems[0].write_to_path(str(self.folder / "cert.pem"))

    def trusted(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority."""
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    authority = Authority(trustme.CA(), tmp_path_factory.mktemp("authority"))
    authority.ca.cert_pem.write_to_path(str(authority.ca_file))
    authority.sign()
    return authority


@pytest.fixture(params=["tls"])
async def serve(
    tmp_path: Path, authority: Authority, request: pytest.FixtureRequest
) -> AsyncIterator[Serve]:
    """Return a function that starts a server with these settings, under TLS or (`plain`) not."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Server:
            options.setdefault("close_seconds", 0.3)
            if request.param == "tls":
                options |= {
                    "tls": tls_context(Settings(data_dir=tmp_path, **authority.files)),
                    "client_tls": authority.trusted(),
                }
            return await stack.enter_async_context(Server(tmp_path, **options))

        yield start
