"""What ends the peers' programs: their standard input."""

import asyncio
import sys


async def input_ended() -> None:
    """Return once the standard input has ended."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
