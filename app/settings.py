"""Every limit and choice of the server, with its unit, its range and the reason for its number.

A value comes from a command-line flag, else from the environment (`SWITCHBOARD_` and the field's
name in capitals), else from the default here.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.base.errors import SettingsError, sentence
from app.base.options import (
    Host,
    Networks,
    Option,
    Origins,
    Port,
    Prefixes,
    Secrets,
    Token,
    Words,
    describe,
    flag_of,
    option,
    without_empty,
)

ENV_PREFIX: Final = "SWITCHBOARD_"


class Settings(BaseSettings):
    """The effective configuration; frozen, and valid by construction."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix=ENV_PREFIX,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    # Where
    host: Host = option(
        "127.0.0.1",
        "Address to listen on. Loopback until you say otherwise; `0.0.0.0` is every IPv4 address, "
        "`::` every address.",
    )
    port: Port = option(8080, "TCP port; 0 takes a free one.", ge=0, le=65535)
    data_dir: Path = option(Path("data"), "Folder of the database, the keys and the lock.")
    tls_cert: Path | None = option(None, "PEM certificate chain: serves wss directly.")
    tls_key: Path | None = option(None, "PEM private key of the certificate.")
    trusted_proxies: Networks = option(
        (), "Addresses or networks whose Forwarded and X-Forwarded-* headers are believed."
    )
    allowed_origins: Origins = option(
        (),
        "Other web origins (scheme://host[:port]) that may connect, with bearer tokens only; also "
        "those of app shells, such as capacitor://localhost.",
    )
    hsts_seconds: int | None = option(
        None,
        "How long browsers shall use nothing but https for this host, on every port of it "
        "(Strict-Transport-Security); unset: no such header; 0: they forget it.",
        unit="seconds",
        ge=0,
        le=63_072_000,
    )
    web_app: str = option(
        "auto",
        "Folder of the built web app; auto: `frontend/dist`, when scripts/build has made it; "
        "off: none, and `/` only says that the server runs.",
    )
    features: Words = option((), "Operator's own features, each as `module:attribute`.")

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = option("info", "Least level shown.")
    log_format: Literal["auto", "text", "json"] = option(
        "auto", "auto: text on a terminal, JSON lines otherwise."
    )

    # Secrets
    cookie_keys: Secrets = option(
        (),
        "Fernet keys of the session cookie, the first one signs; "
        "empty: made once and kept in the data folder.",
    )
    metrics_token: Token = option(
        None,
        "Bearer token that opens /metrics to others than programs of this machine; 16 characters "
        "at least.",
    )
    jwt_secret: SecretStr | None = option(
        None, "HS256 secret of your application's tokens, at least 32 bytes."
    )
    jwt_key_file: Path | None = option(
        None, "PEM public key (RS256 or ES256) of your application's tokens."
    )
    jwt_algorithm: Literal["HS256", "RS256", "ES256"] | None = option(
        None, "The only algorithm accepted in JWTs; unset: JWTs are refused."
    )
    jwt_issuer: str | None = option(None, "Required `iss` of JWTs.")
    jwt_audience: str | None = option(None, "Required `aud` of JWTs.")
    jwt_max_life_days: float = option(
        400,
        "Longest time from `iat` to `exp` of a JWT; the server has to remember for as long which "
        "JWTs have ended.",
        unit="days",
        gt=0,
        le=3650,
    )

    # Accounts
    session_idle_days: float = option(
        30,
        "A session unused this long ends; a live socket counts as use.",
        unit="days",
        gt=0,
        le=3650,
    )
    session_max_days: float = option(
        365, "A session ends this long after sign-in, used or not.", unit="days", gt=0, le=3650
    )
    max_devices_per_user: int = option(
        50,
        "One sign-in more removes the device least recently seen, one that is not connected first.",
        unit="devices",
        ge=1,
        le=10_000,
    )
    new_devices_per_day: int = option(
        200,
        "Devices new to a user in 24 hours, as four times all 50; each leaves a row for more than "
        "a year. One more is answered 429, a known one never; 0 = no limit.",
        unit="devices",
        ge=0,
        le=100_000,
    )
    max_sessions_per_user: int = option(
        100,
        "Two for each of 50 devices; one sign-in or token more ends the session least recently "
        "used, one without a connection first; 0 = no limit.",
        unit="sessions",
        ge=0,
        le=10_000,
    )
    password_min_length: int = option(
        10,
        "Shortest new password; NIST SP 800-63B asks for at least 8.",
        unit="characters",
        ge=8,
        le=128,
    )
    password_workers: int = option(
        2,
        "Threads that hash passwords; each hash takes 19 MiB and about 30 ms.",
        unit="threads",
        ge=1,
        le=64,
    )
    password_queue: int = option(
        32,
        "Hashes that may wait (about half a second); more are answered 503.",
        unit="hashes",
        ge=0,
        le=10_000,
    )
    login_attempts: int = option(
        10,
        "Failed sign-ins in a row before an account or address must wait; 0 = no limit.",
        unit="failures",
        ge=0,
        le=100_000,
    )
    login_window_seconds: float = option(
        300,
        "Time in which all failed sign-ins are forgiven again, one by one.",
        unit="seconds",
        gt=0,
        le=86_400,
    )

    # The socket
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

    # Durable messages
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

    # Stopping
    shutdown_seconds: float = option(
        8, "From the signal to the exit, at most.", unit="seconds", ge=1, le=600
    )
    drain_seconds: float = option(
        1,
        "From the signal to the first close: /ready says 503 and upgrades are refused, "
        "everything else goes on.",
        unit="seconds",
        ge=0,
        le=60,
    )
    restart_seconds: float = option(
        5,
        "From the last close to the next start's first answer; no client is told to come back "
        "earlier. Sockets that systemd holds need no such wait.",
        unit="seconds",
        ge=0,
        le=3600,
    )
    reconnect_window_seconds: float = option(
        5,
        "Clients that come back after a stop are spread over this time.",
        unit="seconds",
        ge=0,
        le=3600,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: dict[str, Any]) -> dict[str, Any]:
        return without_empty(OPTIONS, values)

    @field_validator("data_dir")
    @classmethod
    def _named_in_utf8(cls, folder: Path) -> Path:
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise ValueError("the name of the folder has to be UTF-8, as SQLite wants it") from None
        return folder

    @model_validator(mode="after")
    def _certificate_and_key(self) -> "Settings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self

    @model_validator(mode="after")
    def _drain_within_the_stop(self) -> "Settings":
        if self.drain_seconds > self.shutdown_seconds:
            raise ValueError(
                "the drain is part of the stop: drain_seconds is above shutdown_seconds"
            )
        return self

    @model_validator(mode="after")
    def _jwt(self) -> "Settings":
        if self.jwt_algorithm is None:
            if self.jwt_secret or self.jwt_key_file or self.jwt_issuer or self.jwt_audience:
                raise ValueError("the other jwt_ settings need jwt_algorithm")
            return self
        if not self.jwt_issuer or not self.jwt_audience:
            raise ValueError("jwt_algorithm needs jwt_issuer and jwt_audience")
        if self.jwt_algorithm == "HS256":
            secret = self.jwt_secret.get_secret_value() if self.jwt_secret else ""
            if len(secret.encode()) < 32 or self.jwt_key_file:
                raise ValueError("HS256 needs jwt_secret of at least 32 bytes, and no jwt_key_file")
        elif self.jwt_key_file is None or self.jwt_secret:
            raise ValueError(f"{self.jwt_algorithm} needs jwt_key_file, and no jwt_secret")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags, then the environment, nothing else, so that `config` can name the source."""
        return init_settings, env_settings


OPTIONS: Final[Mapping[str, Option]] = describe(Settings)
"""Every setting by its name, in the order of their declarations."""


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Return the effective settings; a flag that is None counts as not given.

    Raises SettingsError with one sentence for each fault; none of them shows a value of a secret.
    """
    try:
        return Settings(**_given(flags))
    except ValidationError as error:
        raise SettingsError([told for _, told in _sentences(error, flags)]) from None


def load_usable_settings(flags: Mapping[str, Any]) -> tuple[Settings, list[tuple[str, str]]]:
    """Return the settings with the defaults of those that are refused, and these with a sentence.

    Of settings that do not go together, all of one kind have their defaults. Raises SettingsError
    for a fault that is of no setting.
    """
    given, refused = _given(flags), dict[str, str]()
    while True:
        try:
            return Settings(**given), list(refused.items())
        except ValidationError as error:
            faults = [(name or _named_in(told), told) for name, told in _sentences(error, flags)]
        if not all(name and name not in refused for name, _ in faults):
            raise SettingsError([told for _, told in faults])
        for name, told in faults:
            refused[name] = told
            # Empty is unset, whatever the environment says.
            given |= {one: OPTIONS[one].default or "" for one in _kind_of(name)}


def _named_in(told: str) -> str:
    """Return the first setting that the sentence names; nothing if it names none."""
    return next((word for word in re.findall(r"\w+", told) if word.lower() in OPTIONS), "").lower()


def _kind_of(name: str) -> list[str]:
    """Return the settings that go together with this one: all of JWTs, and all of TLS."""
    kind = name.partition("_")[0]
    together = [one for one in OPTIONS if one.startswith(f"{kind}_")]
    return together if kind in ("jwt", "tls") else [name]


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _sentences(error: ValidationError, flags: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fault: the setting, or nothing if it is about several, and the sentence."""
    for fault in error.errors():
        reason = fault["msg"].removeprefix("Value error, ").rstrip(".")
        if not fault["loc"]:
            yield "", sentence(reason)
            continue
        name = str(fault["loc"][0])
        where = flag_of(name) if name in _given(flags) else f"{ENV_PREFIX}{name.upper()}"
        yield name, f"{where}: {reason[:1].lower()}{reason[1:]}."
