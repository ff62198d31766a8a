"""What the server is: where it listens and is reached, what it serves and logs, how it stops."""

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings

from app.base.options import Host, Level, Networks, Origins, Port, WebApp, Words, option


class ServerSettings(BaseSettings, defer_build=True):
    """Addresses, files, web pages and the log."""

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
    web_app: WebApp = option(
        "auto",
        "Folder of the built web app; auto: `frontend/dist`, when scripts/build has made it; "
        "off: none, and `/` only says that the server runs.",
    )
    features: Words = option((), "Operator's own features, each as `module:attribute`.")

    # Logs
    log_level: Level = option("info", "Least level shown.")
    log_format: Literal["auto", "text", "json"] = option(
        "auto", "auto: text on a terminal, JSON lines otherwise."
    )

    @field_validator("data_dir")
    @classmethod
    def _named_in_utf8(cls, folder: Path) -> Path:
        try:
            str(folder).encode()
        except UnicodeEncodeError:
            raise ValueError("the name of the folder has to be UTF-8, as SQLite wants it") from None
        return folder

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self


class StopSettings(BaseSettings, defer_build=True):
    """The stop, and the return of the clients."""

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

    @model_validator(mode="after")
    def _drain_within_the_stop(self) -> Self:
        if self.drain_seconds > self.shutdown_seconds:
            raise ValueError(
                "the drain is part of the stop: drain_seconds is above shutdown_seconds"
            )
        return self
