"""The sockets that the server listens on."""

import socket

import pytest

from app.base.errors import SettingsError
from app.base.listening import NOTSENT_LOWAT, bind


async def test_connections_inherit_what_is_set_on_the_listener() -> None:
    (listener,) = await bind("127.0.0.1", 0, user_timeout=61)
    with listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            listener.setblocking(True)
            accepted, _ = listener.accept()
            with accepted:
                tcp = socket.IPPROTO_TCP
                assert accepted.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 61_000
                assert accepted.getsockopt(tcp, socket.TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT


async def test_every_address_of_the_host_has_the_same_port() -> None:
    listeners = await bind("localhost", 0, user_timeout=60)
    ports = {listener.getsockname()[1] for listener in listeners}
    for listener in listeners:
        listener.close()
    assert len(ports) == 1


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
async def test_what_cannot_be_bound_is_one_sentence(host: str) -> None:
    with pytest.raises(SettingsError, match=f"^Cannot listen on {host} port 0: .*[.]$"):
        await bind(host, 0, user_timeout=60)


async def test_a_taken_port_is_one_sentence() -> None:
    (first,) = await bind("127.0.0.1", 0, user_timeout=60)
    with first:
        first.listen()
        with pytest.raises(SettingsError, match="in use"):
            await bind("127.0.0.1", first.getsockname()[1], user_timeout=60)


@pytest.mark.parametrize("host", ["::", "::0", "0:0:0:0:0:0:0:0"])
async def test_every_address_is_that_of_both_families(host: str) -> None:
    listeners = await bind(host, 0, user_timeout=60)
    try:
        [port] = {listener.getsockname()[1] for listener in listeners}
        for listener in listeners:
            listener.listen()
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, port)):
                pass
    finally:
        for listener in listeners:
            listener.close()


async def test_every_address_of_ipv4_is_no_other() -> None:
    (listener,) = await bind("0.0.0.0", 0, user_timeout=60)
    with listener:
        assert listener.family == socket.AF_INET
