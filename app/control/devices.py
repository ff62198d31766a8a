"""Commands on devices."""

from typing import Final

from app.control.command import Arguments, Command, Id, Page, PageArguments, Result


class DeviceView(Result):
    """A device as an operator sees one; times are milliseconds since 1970 (UTC)."""

    id: int
    user_id: int
    user_handle: str | None
    device_uuid: str
    device_type: str
    device_name: str | None
    os_info: str | None
    created_at: int
    last_seen: int | None
    removed_at: int | None
    online: bool


class Revoked(Result):
    """How many live connections a revocation closed."""

    connections_closed: int


class WhichDevices(PageArguments):
    """Whose devices to list: everybody's without a user."""

    user: str | None = None
    removed: bool = False


class OneDevice(Arguments):
    """The number of a device."""

    device_id: Id


class NewName(Arguments):
    """A device and its new name."""

    device_id: Id
    name: str


LIST: Final = Command[WhichDevices, Page[DeviceView]](
    "devices.list", WhichDevices, Page[DeviceView]
)
RENAME: Final = Command[NewName, DeviceView]("devices.rename", NewName, DeviceView)
REVOKE: Final = Command[OneDevice, Revoked]("devices.revoke", OneDevice, Revoked)
