"""One WebSocket of a device, on picows."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

NO_CLOSE_FRAME: Final = 1006

CONNECT_SECONDS: Final = 30
"""A server may take long for an upgrade while thousands of devices come back."""


class Link(WSListener):
    """Hands every message to `take`; picows answers pings."""

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._take = take
        self._transport: WSTransport | None = None
        self.code = NO_CLOSE_FRAME
        self._over = False
        self.deaf = False
        """Whether it drops messages unread, as a program that hangs does."""

    async def open(self, url: str, headers: Mapping[str, str]) -> None:
        """Connect; frames may come before this returns.

        Raises OSError when there is no server, or when it refuses.
        """
        try:
            await ws_connect(
                lambda: self,
                url,
                extra_headers=headers,
                websocket_handshake_timeout=CONNECT_SECONDS,
                use_aiofastnet=False,
            )
        except (WSError, TimeoutError) as error:
            raise ConnectionError(f"the upgrade failed: {error}") from error

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport, unless the connection was given up meanwhile."""
        self._transport = transport
        if self._over:
            self.abort()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a message, or answer a close."""
        if frame.msg_type is WSMsgType.TEXT:
            if not self.deaf:
                self._take(orjson.loads(frame.get_payload_as_memoryview()))
        elif frame.msg_type is WSMsgType.CLOSE:
            self.code = int(frame.get_close_code().value)
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def send(self, message: dict[str, Any]) -> None:
        """Send it, or nothing if the connection is over."""
        transport = self._transport
        if transport is not None and not transport.is_disconnected:
            transport.send(WSMsgType.TEXT, orjson.dumps(message))

    def stall(self, stalled: bool) -> None:
        """Stop reading from the socket, or read again."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        if stalled:
            transport.underlying_transport.pause_reading()
        else:
            transport.underlying_transport.resume_reading()

    def abort(self) -> None:
        """End the connection without a close frame, also one that is only about to be."""
        self._over = True
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    async def ended(self) -> int:
        """Wait for the end and return the close code."""
        if self._transport is not None:
            await self._transport.wait_disconnected()
        return self.code
