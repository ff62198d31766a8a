"""Accepting connections: the same on every event loop, and going on when the system refuses.

When a process runs out of descriptors, uvloop closes the listener without a word, and asyncio logs
a traceback each second while clients wait. Both accept all that waits before anybody can refuse
some of it. So the loop only says here when a listener is ready.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from app.base.logs import fields

AT_ONCE: Final = 16
"""Sockets that are accepted in one turn of the loop. Those that make room for them keep their
descriptors until the turn is over."""

RETRY_SECONDS: Final = 0.1
"""How long a listener rests after the system refused. Until then the system queues for it."""

_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE})

_NAMED: Final = _SCARCE | {errno.ENOBUFS, errno.ENOMEM}

FAILURES: Final = (*sorted(errno.errorcode[number] for number in _NAMED), "other")
"""The names of what the system may refuse for, as `failures` counts them."""

log = logging.getLogger(__name__)

_Connecting = asyncio.Task[tuple[asyncio.Transport, asyncio.Protocol]]


class Acceptor:
    """Accepts on listening sockets, and makes transports of what `protocol_for` takes.

    `protocol_for` gets the socket and its peer's address; it returns the protocol, or None when it
    has disposed of the socket. `connection_lost` of a protocol is called also if its transport
    never came to be, as after a failed handshake of TLS. `refuse` says no to a socket for which
    there is no descriptor; it neither keeps nor closes it. `failures` counts what the system
    refused, by the name of the error.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        protocol_for: Callable[[socket.socket, object], asyncio.Protocol | None],
        *,
        backlog: int,
        failures: Counter[str] | None = None,
        refuse: Callable[[socket.socket], None] = lambda refused: None,
        tls: ssl.SSLContext | None = None,
        handshake_seconds: float | None = None,
    ) -> None:
        self._listeners = list(listeners)
        self._protocol_for = protocol_for
        self._backlog = backlog
        self._failures: Counter[str] = Counter() if failures is None else failures
        self._refuse = refuse
        self._tls: dict[str, Any] = (
            {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": handshake_seconds}
        )
        self._loop = asyncio.get_running_loop()
        self._resting: dict[socket.socket, asyncio.TimerHandle] = {}
        self._connecting: set[_Connecting] = set()
        # Given up for a moment to accept, and refuse, a socket for which there is no descriptor.
        self._spare = _spare()

    def start(self) -> None:
        """Accept from now on."""
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(self._backlog)
            self._resume(listener)

    def stop(self) -> None:
        """Accept nothing more, and close the listeners; what was accepted goes on."""
        for listener in self._listeners:
            resting = self._resting.pop(listener, None)
            if resting is not None:
                resting.cancel()
            else:
                self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    async def close(self) -> None:
        """Stop, and break off what has no transport yet."""
        self.stop()
        for connecting in self._connecting:
            connecting.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _resume(self, listener: socket.socket) -> None:
        self._resting.pop(listener, None)
        self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Take what waits, up to a number: other callbacks of the loop have their turn, too."""
        for _ in range(AT_ONCE):
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._rest(listener, error)
                return
            accepted.setblocking(False)
            protocol = self._protocol_for(accepted, address)
            if protocol is not None:
                self._connect(accepted, protocol)

    def _connect(self, accepted: socket.socket, protocol: asyncio.Protocol) -> None:
        connecting = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: protocol, accepted, **self._tls)
        )
        self._connecting.add(connecting)
        connecting.add_done_callback(partial(self._connected, accepted, protocol))

    def _connected(
        self, accepted: socket.socket, protocol: asyncio.Protocol, connecting: _Connecting
    ) -> None:
        self._connecting.discard(connecting)
        if connecting.cancelled() or connecting.exception() is not None:
            # A handshake that failed is the peer's affair: there is nobody to tell.
            accepted.close()
            protocol.connection_lost(None)

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        """Say that the system refused, turn away who waits if we can, and try again soon."""
        reason = errno.errorcode.get(error.errno or 0, "") if error.errno in _NAMED else "other"
        self._failures[reason] += 1
        log.warning("accept failed", extra=fields(reason=reason, error=error.strerror))
        if error.errno in _SCARCE:
            self._turn_away(listener)
        self._loop.remove_reader(listener.fileno())
        self._resting[listener] = self._loop.call_later(RETRY_SECONDS, self._resume, listener)

    def _turn_away(self, listener: socket.socket) -> None:
        """Refuse who waits, one after the other, by means of the spare descriptor."""
        if self._spare is not None:
            os.close(self._spare)
        for _ in range(AT_ONCE):
            try:
                refused, _address = listener.accept()
            except OSError:
                break
            with refused, suppress(OSError):
                refused.setblocking(False)
                self._refuse(refused)
        self._spare = _spare()


def _spare() -> int | None:
    """Return a descriptor to give up later; None if there is none left."""
    try:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
