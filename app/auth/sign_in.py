"""What a sign-in takes and gives."""

from dataclasses import dataclass, field

from app.auth.sessions import Ended
from app.storage.devices import Device
from app.storage.users import User


@dataclass(frozen=True, slots=True)
class SignIn:
    """Credentials, and the device that shows them; as sent, not yet cleaned."""

    user_handle: str
    password: str = field(repr=False)
    device_uuid: str
    device_type: str
    device_name: str | None = None
    os_info: str | None = None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session; the token is shown nowhere else."""

    token: str = field(repr=False)
    session_id: int
    user: User
    device: Device | None
    ended: Ended
    """The connections of devices that had to go for this one."""
