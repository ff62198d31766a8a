"""A command that ends sessions has closed their sockets when it returns."""

import asyncio
from collections.abc import Iterator

import pytest
from serving import Device, Peer

from tests.process.conftest import Start
from tests.process.server import ServerProcess

REVOKED = (4502, "revoked")

ANSWERS = 5
"""Answers that a bystander gets after a command; the closes come before the last of them.

Users are promised a second. A turn of the server's loop is much shorter, and unlike a second it
grows with the load of the machine.
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("server"))
    yield server
    server.end()


@pytest.fixture
def ada(server: ServerProcess) -> Iterator[str]:
    server.run.add()
    yield "ada"
    for user in server.run.json("users", "list"):
        server.run("users", "delete", user["handle"], "--yes")


async def check_closed(*peers: Peer, bystander: Peer) -> None:
    """Check that the peers' closes come at once, and that the bystander's does not."""
    for _ in range(ANSWERS):
        await bystander.silence()
    for peer in peers:
        assert peer.ws.protocol.close_rcvd is not None
        assert await peer.closed() == REVOKED


ENDINGS = {
    "devices revoke": lambda device: ("devices", "revoke", str(device.device_id)),
    "tokens revoke": lambda device: ("tokens", "revoke", str(device.session_id)),
    "users disable": lambda _: ("users", "disable", "ada"),
    "users passwd": lambda _: ("users", "passwd", "ada", "--password-stdin"),
    "users delete": lambda _: ("users", "delete", "ada", "--yes"),
}


@pytest.mark.parametrize("command", ENDINGS)
async def test_its_sockets_are_closed(server: ServerProcess, ada: str, command: str) -> None:
    await asyncio.to_thread(server.run.add, "bob")
    phone, other = await server.device("phone", ada), await server.device("other", "bob")
    async with (
        server.connected(phone, "?instance=a") as one,
        server.connected(phone, "?instance=b") as two,
        server.connected(other) as bystander,
    ):
        arguments = ENDINGS[command](phone)
        await asyncio.to_thread(server.run, *arguments, stdin="another good one\n")
        await check_closed(one, two, bystander=bystander)
    assert server.get("/v1/auth/session", phone.by_header)[0] == 401
    assert server.get("/v1/auth/session", other.by_header)[0] == 200


async def test_the_device_that_a_new_one_pushes_out_is_closed(start: Start) -> None:
    server = start(max_devices_per_user=1)
    phone = await server.device("phone")
    async with server.connected(phone) as peer:
        await server.device("laptop")
        assert await peer.closed() == REVOKED


async def test_a_revoked_token_spares_the_other_session_of_the_device(
    server: ServerProcess, ada: str
) -> None:
    one, two = await server.device("phone", ada), await server.device("phone", ada)
    assert one.device_id == two.device_id
    async with (
        server.connected(one, "?instance=a") as ended,
        server.connected(two, "?instance=b") as stays,
    ):
        await asyncio.to_thread(server.run, "tokens", "revoke", str(one.session_id))
        await check_closed(ended, bystander=stays)


async def test_a_token_is_revoked_by_itself_without_being_shown(
    server: ServerProcess, ada: str
) -> None:
    phone: Device = await server.device("phone", ada)
    async with server.connected(phone) as peer:
        await asyncio.to_thread(server.run, "tokens", "revoke", "-", stdin=f"{phone.token}\n")
        assert await peer.closed() == REVOKED
    assert phone.token not in server.stderr.read_text()
