"""How long a connection and a request may take, and how much may wait for a slow one."""

from pydantic_settings import BaseSettings

from app.base.options import option


class ConnectionSettings(BaseSettings, defer_build=True):
    """Times and sizes of one connection."""

    heartbeat_seconds: float = option(
        25,
        "Interval of the server's pings, below the 30 to 60 s after which proxies and NATs "
        "drop an idle connection.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    stall_seconds: float = option(
        60,
        "A peer that takes no unsent byte for this long is closed with 4002.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    message_seconds: float = option(
        30,
        "Time for one message of several frames, or one frame in pieces, to arrive.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    header_seconds: float = option(
        10,
        "From the accept to the last header of the first request, the handshake of TLS included; "
        "a socket that says nothing holds a descriptor.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    keepalive_seconds: float = option(
        150,
        "How long a connection is kept for the next HTTP request; longer than any proxy keeps it "
        "(Caddy 120 s, Traefik 90 s, nginx and AWS 60 s), else a request may meet the close and be "
        "answered 502.",
        unit="seconds",
        gt=0,
        le=7200,
    )
    request_seconds: float = option(
        30, "Time for one HTTP request, body included.", unit="seconds", gt=0, le=3600
    )
    handler_seconds: float = option(
        10,
        "Time for a feature to handle one message; then its handler is cancelled and the sender "
        "is answered `timed_out`.",
        unit="seconds",
        gt=0,
        le=3600,
    )
    close_seconds: float = option(
        2,
        "Time for a peer to answer our close frame before its connection is dropped.",
        unit="seconds",
        gt=0,
        le=60,
    )
    max_message_bytes: int = option(
        65_536,
        "Largest inbound message: 4 MiB of nested JSON would block everybody for 430 ms.",
        unit="bytes",
        ge=1024,
        le=16_777_216,
    )
    max_outbox_frames: int = option(
        32, "Frames waiting for one slow connection.", unit="frames", ge=1, le=100_000
    )
    max_outbox_bytes: int = option(
        262_144, "Bytes waiting for one slow connection.", unit="bytes", ge=1024, le=1_073_741_824
    )
