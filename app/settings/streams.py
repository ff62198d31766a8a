"""Durable messages: how many and how long they are kept, and who may send how many."""

from pydantic_settings import BaseSettings

from app.base.options import Prefixes, option


class StreamSettings(BaseSettings, defer_build=True):
    """Retention, keys, message ids and rates."""

    retention_days: float = option(
        30, "A durable message older than this is removed.", unit="days", gt=0, le=3650
    )
    retention_rows: int = option(
        10_000,
        "Durable messages kept for one user of each: of all their devices, and of the backend; "
        "the same again for everyone. The oldest goes first.",
        unit="messages",
        ge=1,
        le=100_000_000,
    )
    max_keys_per_user: int = option(
        1000,
        "`latest` values of one user of each: of all their devices, and of the backend; they are "
        "exempt from retention, so one more is refused.",
        unit="keys",
        ge=1,
        le=1_000_000,
    )
    message_ids_per_user: int = option(
        100_000,
        "Message ids that all devices of a user may add in 24 hours, since the server remembers "
        "each for a day at least; 0 = no limit.",
        unit="ids",
        ge=0,
        le=100_000_000,
    )
    message_ids_per_key: int = option(
        0,
        "Message ids that one API key may add in 24 hours; 0 = no limit.",
        unit="ids",
        ge=0,
        le=1_000_000_000,
    )
    durable_prefixes: Prefixes = option(
        ("*",), "Type prefixes of which devices may send durable messages; * is all, none is empty."
    )
    durable_per_second: float = option(
        20,
        "Durable messages of one device's connection; each is a write to disk; 0 = no limit.",
        unit="messages/s",
        ge=0,
    )
    durable_burst: int = option(
        200, "Durable messages of one connection at once.", unit="messages", ge=1
    )
    user_durable_per_second: float = option(
        100,
        "Durable messages of all connections of one user: five connections at their own limit; "
        "0 = no limit.",
        unit="messages/s",
        ge=0,
    )
    user_durable_burst: int = option(
        1000,
        "Durable messages of one user at once: five connections at theirs.",
        unit="messages",
        ge=1,
    )
