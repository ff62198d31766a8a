"""What systemd hands to a service and is told by it: sockets, readiness, signs of life.

The protocols are those of sd_listen_fds(3) and sd_notify(3); other supervisors speak them too.
Without their environment variables nothing here does anything.
"""

import asyncio
import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Final

from app.base.errors import SettingsError

FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START: the sockets come behind stdin, stdout and stderr."""

BEATS: Final = 3
"""Signs of life in the time after which systemd takes the service for dead."""


def take_listeners(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listening sockets that this process was started with; none if it binds its own.

    The variables are removed, since child processes must not take the sockets for theirs. Raises
    SettingsError for a descriptor that is no listening TCP socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    last = FIRST_DESCRIPTOR + int(count)
    return [_listener(descriptor) for descriptor in range(FIRST_DESCRIPTOR, last)]


def _listener(descriptor: int) -> socket.socket:
    refusal = SettingsError(
        [f"Descriptor {descriptor} of LISTEN_FDS is no TCP socket that listens."]
    )
    try:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        raise refusal from None
    if not listens or listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise refusal
    listener.setblocking(False)
    return listener


def notify(*states: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Tell the supervisor, such as `READY=1`; it may be gone, and nothing waits for it."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # The abstract namespace (unix(7)).
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.setblocking(False)
        one.sendto("\n".join(states).encode(), address)


def watchdog_seconds(environ: MutableMapping[str, str] = os.environ) -> float | None:
    """Return after how long a silence the supervisor ends this process; None if it does not."""
    given = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not given.isdecimal():
        return None
    return int(given) / 1_000_000 or None


async def beat(seconds: float) -> None:
    """Give signs of life until cancelled; an event loop that is stuck gives none."""
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds / BEATS)
