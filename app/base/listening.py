"""The sockets that the server listens on, with options that every connection inherits."""

import asyncio
import socket
from contextlib import suppress
from typing import Any, Final

from app.base.errors import SettingsError

NOTSENT_LOWAT: Final = 65_536
"""Unsent bytes that the kernel takes for a connection: a stalled peer costs 180 KB, not 3.9 MB."""

ANY_IPV4: Final = "0.0.0.0"  # noqa: S104 (bound to only where the operator says so)
ANY_IPV6: Final = "::"

_Address = tuple[int, tuple[Any, ...]]

_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)


async def bind(host: str, port: int, user_timeout: float) -> list[socket.socket]:
    """Return a bound socket for each address of the host, all on one port; 0 takes a free one.

    The host `::` stands for every address, those of IPv4 too, on systems that have IPv4.

    For their connections the kernel gives up on a peer that acknowledges nothing for `user_timeout`
    seconds, and takes only few bytes that it cannot send yet. Raises SettingsError if an address
    cannot be bound.
    """
    try:
        addresses = await _addresses(host, port)
    except OSError as error:
        raise _refusal(host, port, error) from error
    bound: list[socket.socket] = []
    try:
        for family, address in addresses:
            taken = bound[0].getsockname()[1] if bound else port
            bound.append(_bind(family, (address[0], taken, *address[2:])))
            tune(bound[-1], user_timeout)
    except OSError as error:
        for one in bound:
            one.close()
        raise _refusal(host, port, error) from error
    return bound


def tune(listener: socket.socket, user_timeout: float) -> None:
    """Set the options that connections inherit, those that the system has."""
    options = ((_NOTSENT_LOWAT, NOTSENT_LOWAT), (_USER_TIMEOUT, int(user_timeout * 1000)))
    for option, value in options:
        if option is not None:
            with suppress(OSError):
                listener.setsockopt(socket.IPPROTO_TCP, option, value)


async def _addresses(host: str, port: int) -> list[_Address]:
    infos = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    found: list[_Address] = [(family, address) for family, _, _, _, address in infos]
    if found[0][1][0] == ANY_IPV6 and _has_ipv4():
        found.append((socket.AF_INET, (ANY_IPV4, port)))
    return list(dict.fromkeys(found))


def _has_ipv4() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _bind(family: int, address: tuple[str | int, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _refusal(host: str, port: int, error: OSError) -> SettingsError:
    reason = error.strerror or type(error).__name__
    return SettingsError([f"Cannot listen on {host} port {port}: {reason}."])
