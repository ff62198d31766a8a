"""Direct writes rely on transports that tell at once how much they have not written."""

import asyncio
import socket


async def test_what_a_transport_took_is_either_written_or_counted() -> None:
    """Otherwise a frame written to the descriptor could overtake one in the transport."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *listener.getsockname())
        other, _ = listener.accept()
        with other:
            other.setblocking(False)
            for size in (1, 100, 70_000):
                transport.write(b"x" * size)
                transport.write(b"y")
                arrived = 0
                while arrived < size + 1 - transport.get_write_buffer_size():
                    arrived += len(other.recv(1 << 20))
                assert arrived == size + 1
        transport.abort()
