"""Which connections are meant. Pure."""

from dataclasses import dataclass


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
