"""How much one connection, one user, one address and all together may do."""

from pydantic_settings import BaseSettings

from app.base.options import option


class LimitSettings(BaseSettings, defer_build=True):
    """Rates, bursts and counts; the refusal of what is above them."""

    messages_per_second: float = option(
        100, "Inbound messages of one connection; 0 = no limit.", unit="messages/s", ge=0
    )
    messages_burst: int = option(
        200, "Inbound messages of one connection at once.", unit="messages", ge=1
    )
    bytes_per_second: float = option(
        262_144, "Inbound bytes of one connection; 0 = no limit.", unit="bytes/s", ge=0
    )
    user_messages_per_second: float = option(
        400,
        "Inbound messages of all connections of one user: four connections at their own limit; "
        "each takes some 25 µs of everybody's time; 0 = no limit.",
        unit="messages/s",
        ge=0,
    )
    user_messages_burst: int = option(
        2000,
        "Inbound messages of one user at once: ten connections at theirs, some 50 ms.",
        unit="messages",
        ge=1,
    )
    user_bytes_per_second: float = option(
        1_048_576,
        "Inbound bytes of all connections of one user: four connections at their own limit; "
        "0 = no limit.",
        unit="bytes/s",
        ge=0,
    )
    user_bytes_burst: int = option(
        4_194_304,
        "Inbound bytes of one user at once: 64 of the largest messages; never less than two.",
        unit="bytes",
        ge=1,
    )
    user_deliveries_per_second: float = option(
        5000,
        "Connections to which messages of one user's devices are handed, each some 5 µs: 16 tabs "
        "that each tell 255 connections once a second are below; 0 = no limit.",
        unit="deliveries/s",
        ge=0,
    )
    user_deliveries_burst: int = option(
        20_000,
        "Deliveries of one user's messages at once: 78 messages to 256 connections, some 100 ms.",
        unit="deliveries",
        ge=1,
    )
    user_upgrades_per_second: float = option(
        10,
        "WebSockets that one user opens: 16 tabs that return every 3 s, and the phones beside "
        "them; one more is answered 429; 0 = no limit.",
        unit="upgrades/s",
        ge=0,
    )
    user_upgrades_burst: int = option(
        300,
        "WebSockets that one user opens at once: all 256 return after a restart.",
        unit="upgrades",
        ge=1,
    )
    user_writes_per_second: float = option(
        20,
        "Changes that one user's sessions make over HTTP, each a write to disk; one more is "
        "answered 429. Those of API keys and administrators do not count; 0 = no limit.",
        unit="requests/s",
        ge=0,
    )
    user_writes_burst: int = option(
        100, "Such changes at once: all 50 devices, twice.", unit="requests", ge=1
    )
    unfinished_bytes_per_user: int = option(
        4_194_304,
        "Bytes held of messages that have begun and not ended, on all connections of a user: 64 of "
        "the largest messages. One message may always be as large as it is allowed to; 0 = no "
        "limit.",
        unit="bytes",
        ge=0,
    )
    max_connections: int = option(
        50_000,
        "Connections of this node; about 20 KB each when idle. Fewer if the limit of open files "
        "is too low.",
        unit="connections",
        ge=1,
        le=10_000_000,
    )
    max_connections_per_device: int = option(
        16, "One more closes the one least recently heard from.", unit="connections", ge=1
    )
    max_connections_per_user: int = option(
        256, "One more closes the one least recently heard from.", unit="connections", ge=1
    )
    max_connections_per_address: int = option(
        1000,
        "One more is answered 503. It counts from the accept on, an IPv6 address by its /64; "
        "loopback and trusted proxies are exempt; 0 = no limit.",
        unit="connections",
        ge=0,
    )
    max_handshakes: int = option(
        8192, "Upgrades in flight; one more is answered 503.", unit="handshakes", ge=1
    )
    retry_after_seconds: int = option(
        2, "Told to those who are refused for now.", unit="seconds", ge=1, le=3600
    )
