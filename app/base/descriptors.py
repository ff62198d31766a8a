"""How many descriptors this process may have open, and how many connections that is enough for.

Without a descriptor nothing can be accepted and no file opened, so connections never get the last
ones: a reserve is left for the server itself and for requests such as `/health`.
"""

import logging
import sys
from dataclasses import dataclass
from typing import Final

from app.base.errors import SettingsError
from app.base.logs import fields

OWN: Final = 80
"""Descriptors that no client has: 45 of the database, the log, the event loop and the listeners, 8
sockets that are being refused and 16 that make room for others; the rest is for commands, and for
files that are open for a moment."""

LEAST_RESERVE: Final = 104
"""OWN, and 24 sockets of requests that are no WebSocket."""

MOST_RESERVE: Final = 512
"""OWN, and 432 sockets of such requests: each is done in milliseconds."""

LEAST: Final = 128
"""With fewer the server does not start: not even 24 connections would fit."""

FEW: Final = 4096
"""Connections that a server of one household or a small team never has."""

UNLIMITED: Final = 1 << 20
"""What counts as the limit where the system has none."""

if sys.platform != "win32":
    import resource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What fits into a limit on descriptors."""

    limit: int
    """Descriptors that the process may have open."""
    connections: int
    """WebSockets, upgrades under way among them."""
    sockets: int
    """Everything that was accepted: connections, other requests, and what has sent nothing yet."""


def capacity_for(connections: int, *, wanted: bool = True) -> Capacity:
    """Return the capacity for so many connections, or for as many as the system lets us have.

    It raises the soft limit as far as they need, and no further: programs that a feature starts
    inherit it, and some are slow with a high one. It warns when fewer fit; where nobody has
    `wanted` so many, only when fewer than FEW do. Raises SettingsError when the limit is below
    `LEAST`.
    """
    limit = _raise_limit(connections + MOST_RESERVE)
    capacity = fit(connections, limit)
    if capacity.connections < connections:
        log.log(
            logging.WARNING if wanted or capacity.connections < FEW else logging.INFO,
            "fewer connections than max_connections: the limit of open files is too low",
            extra=fields(
                limit=limit, connections=capacity.connections, max_connections=connections
            ),
        )
    return capacity


def fit(connections: int, limit: int) -> Capacity:
    """Return what fits into a limit: it, less an eighth as a reserve, within bounds.

    Raises SettingsError when the limit is below `LEAST`.
    """
    if limit < LEAST:
        raise SettingsError(
            [
                f"This process may open {limit} files, and the server needs {LEAST}: raise the "
                "limit (ulimit -n, or LimitNOFILE in a systemd unit)."
            ]
        )
    reserve = min(max(limit // 8, LEAST_RESERVE), MOST_RESERVE)
    granted = min(connections, limit - reserve)
    return Capacity(limit, granted, granted + reserve - OWN)


def _raise_limit(needed: int) -> int:
    """Raise the soft limit to what is needed, if the hard one allows; return the soft limit."""
    if sys.platform == "win32":
        return max(needed, UNLIMITED)
    soft, hard = (
        UNLIMITED if one == resource.RLIM_INFINITY else one
        for one in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    wanted = min(needed, hard)
    if soft >= wanted:
        return soft
    try:
        _, exact_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, exact_hard))
    except (OSError, ValueError) as error:
        # macOS has a lower limit of its own (kern.maxfilesperproc) that the hard one hides.
        log.warning("limit of open files not raised", extra=fields(reason=str(error), limit=soft))
        return soft
    log.info("limit of open files raised", extra=fields(limit=wanted, former=soft, hard=hard))
    return wanted
