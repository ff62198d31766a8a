"""Hands a listening socket to a program as systemd does (sd_listen_fds(3))."""

import socket
import sys
from collections.abc import Sequence
from typing import Final

_HANDS_OVER: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Names the process that it becomes, which nobody knows before there is one."""


def handing_over(listener: socket.socket | None, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs Python with these arguments and the listener as its socket.

    The child must inherit the listener's descriptor (`pass_fds`). Without a listener it is plain
    Python.
    """
    if listener is None:
        return [sys.executable, *arguments]
    given = str(listener.fileno())
    return [sys.executable, "-c", _HANDS_OVER, given, sys.executable, *arguments]
