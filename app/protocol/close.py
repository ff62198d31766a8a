"""Close codes as data: number, reason, what the peer should do next; and what is to be closed.

40xx: come back. 45xx: do not, except after 4501 with a new token. The numbers below 4000 are those
of RFC 6455, section 7.4.1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Close:
    """How a connection is closed by the server: `code` and `reason` go into the close frame."""

    code: int
    reason: str
    reconnect: bool
    meaning: str


REPLACED = Close(1000, "replaced", False, "The same instance of the device connected again.")
TOO_MANY = Close(
    1000, "too_many", False, "The device has too many connections; this one was quiet longest."
)
SIGNED_OUT = Close(1000, "signed_out", False, "The session of this connection signed out.")
SHUTTING_DOWN = Close(1001, "shutting_down", True, "The server stops or restarts.")
STREAM_RESET = Close(
    1001, "stream_reset", True, "The operator began a new epoch: come back and fetch your state."
)
INTERNAL = Close(1011, "internal", True, "The server failed; it is in its log.")
OVERLOADED = Close(1013, "overloaded", True, "The server has too much to do.")
PING_UNANSWERED = Close(4001, "ping_unanswered", True, "A ping of the server got no pong in time.")
TOO_SLOW = Close(4002, "too_slow", True, "The peer took none of the bytes that wait for it.")
RATE_LIMIT = Close(4003, "rate_limit", True, "Too many messages, also after errors said so.")
CLOSED_BY_OPERATOR = Close(
    4004, "closed_by_operator", True, "An administrator closed this one connection."
)
SESSION_EXPIRED = Close(
    4501, "session_expired", False, "The token has ended: come with a new one, or sign in again."
)
REVOKED = Close(4502, "revoked", False, "The session or device was revoked, or the user disabled.")
ABUSE = Close(4503, "abuse", False, "What the peer sent breaks the protocol on purpose.")

CLOSES: tuple[Close, ...] = (
    REPLACED,
    TOO_MANY,
    SIGNED_OUT,
    SHUTTING_DOWN,
    STREAM_RESET,
    INTERNAL,
    OVERLOADED,
    PING_UNANSWERED,
    TOO_SLOW,
    RATE_LIMIT,
    CLOSED_BY_OPERATOR,
    SESSION_EXPIRED,
    REVOKED,
    ABUSE,
)

_NAMED = frozenset({*range(1000, 1016), *(close.code for close in CLOSES)})

EXPECTED: tuple[str, ...] = (
    *dict.fromkeys(str(code) for code in (1000, 1001, 1005, 1006, *(one.code for one in CLOSES))),
    "other",
)
"""Names under which a metric counts closes as they happen: ours, and those of peers that leave."""


def label_of(code: int | None) -> str:
    """Return the name under which a metric counts this code: a peer may choose one of thousands."""
    return str(code) if code in _NAMED else "other"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which connections are meant: those that match every field that is given.

    `except_session_id` leaves the connections of that session out. A selector without any field
    means every connection.
    """

    user_id: int | None = None
    device_id: int | None = None
    session_id: int | None = None
    connection_id: str | None = None
    except_session_id: int | None = None
