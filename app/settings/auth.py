"""Who may come in: secrets, tokens, sessions, devices and passwords."""

from pathlib import Path
from typing import Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_settings import BaseSettings

from app.base.options import Secrets, Token, option


class AuthSettings(BaseSettings, defer_build=True):
    """Secrets, JWTs and accounts."""

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

    @model_validator(mode="after")
    def _jwt(self) -> Self:
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
