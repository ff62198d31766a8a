"""How programs that are measured learn that they shall end: by the end of standard input."""

import asyncio
import sys


async def input_ended() -> None:
    """Wait until the standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
