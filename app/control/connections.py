"""Commands on live connections."""

import ipaddress
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from app.base.options import Network
from app.control.command import Arguments, Command, Feed, Id, Offline, Result
from app.protocol.close import CLOSED_BY_OPERATOR, OVERLOADED, REVOKED, SESSION_EXPIRED, Close

KICKS: Final[dict[int, Close]] = {
    close.code: close for close in (CLOSED_BY_OPERATOR, OVERLOADED, SESSION_EXPIRED, REVOKED)
}
"""With what an operator may close a connection."""

MAX_TYPES: Final = 100
"""Types of one tail; each line is compared with all of them."""


def network_of(text: str) -> Network:
    """Return the network, or the one address as a network; raise ValueError for anything else."""
    return ipaddress.ip_network(text, strict=False)


def _is_network(text: str) -> str:
    network_of(text)
    return text


Address = Annotated[str, AfterValidator(_is_network)]
"""An address, or a network such as 10.0.0.0/8."""


class ConnectionView(Result):
    """A live connection as an operator sees one; times are milliseconds since 1970 (UTC).

    `lag` counts the offsets from its position to the head of its user's stream; `slow` is one for
    which bytes wait, `behind` one that still reads what it missed.
    """

    connection_id: str
    user_id: int
    user_handle: str | None
    subject: str | None
    device_id: int
    device_name: str | None
    device_type: str | None
    instance: str
    address: str
    positioned: bool
    behind: bool
    slow: bool
    tailed: bool
    lag: int
    queue_frames: int
    queue_bytes: int
    connected_at: int
    heard_seconds: int
    messages_in: int
    messages_out: int
    dropped: int


class WhichConnections(Arguments):
    """Which connections are meant: those that match all that is given, and all without any."""

    connection_id: str | None = None
    user: str | None = None
    device_id: Id | None = None
    address: Address | None = None


class Kick(WhichConnections):
    """Which connections to close, and with which code; `dry_run` only counts them."""

    code: Literal[1013, 4004, 4501, 4502] = 4004
    dry_run: bool = False


class Kicked(Result):
    """How many connections matched, and how many of them were closed."""

    matched: int
    closed: int
    code: int
    reason: str
    reconnect: bool


class WhatToTail(WhichConnections):
    """Which connections to follow, which types of messages, and whether to show payloads."""

    types: list[str] = Field(default_factory=list, max_length=MAX_TYPES)
    payloads: bool = False


class TailLine(Result):
    """Something that happened on a connection that is followed.

    `began` is the first line: `count` connections are followed now. `in` came from the client,
    `out` was sent to it, `refused` would have been, had its outbox not been full. `lost` stands for
    `count` lines that the reader was too slow for. `bytes` is the size of the message's JSON.
    """

    what: Literal["began", "connected", "in", "out", "refused", "closed", "lost"]
    at: int
    connection_id: str | None = None
    user_id: int | None = None
    device_id: int | None = None
    instance: str | None = None
    type: str | None = None
    id: str | None = None
    offset: int | None = None
    bytes: int | None = None
    payload: Any = None
    code: int | None = None
    reason: str | None = None
    count: int | None = None


LIST: Final = Feed[WhichConnections, ConnectionView](
    "connections.list", WhichConnections, ConnectionView, offline=Offline.NEVER
)
KICK: Final = Command[Kick, Kicked]("connections.kick", Kick, Kicked, offline=Offline.NEVER)
TAIL: Final = Feed[WhatToTail, TailLine](
    "connections.tail", WhatToTail, TailLine, offline=Offline.NEVER
)
