"""Who acts: what a request or a connection is allowed as."""

from dataclasses import dataclass
from typing import Literal

Via = Literal["header", "protocol", "cookie"]
"""Which way the token came."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, usually on a device, by one presented token. Times are seconds since the epoch."""

    user_id: int
    handle: str
    roles: tuple[str, ...]
    device_id: int | None
    session_id: int | None
    """None for JWTs."""
    expires_at: float | None
    """The absolute end of the token, used or not."""
    via: Via
    issued_at: float | None = None
    """When a JWT says that it was issued; None for sessions."""

    @property
    def permissions(self) -> list[str]:
        return list(self.roles)

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles
