"""Commands on devices."""

from app.control.operations import Arguments, Command, Id, Operations, Result
from app.storage.devices import Device


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


class WhichDevices(Arguments):
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


def device_view(operations: Operations, device: Device, handle: str | None) -> DeviceView:
    """Return what an operator may see of a device."""
    return DeviceView(
        id=device.id,
        user_id=device.user_id,
        user_handle=handle,
        device_uuid=device.device_uuid,
        device_type=device.device_type,
        device_name=device.device_name,
        os_info=device.os_info,
        created_at=device.created_at,
        last_seen=device.last_seen,
        removed_at=device.removed_at,
        online=device.id in operations.online(device.user_id),
    )


async def _list(operations: Operations, arguments: WhichDevices) -> list[DeviceView]:
    if arguments.user is None:
        handles = {user.id: user.handle for user in await operations.accounts.list_users()}
        user_id = None
    else:
        user = await operations.user(arguments.user)
        handles, user_id = {user.id: user.handle}, user.id
    devices = await operations.accounts.list_devices(user_id, include_removed=arguments.removed)
    return [device_view(operations, device, handles.get(device.user_id)) for device in devices]


async def _rename(operations: Operations, arguments: NewName) -> DeviceView:
    device = await operations.accounts.get_device(arguments.device_id)
    renamed = await operations.accounts.rename_device(device.user_id, device.id, arguments.name)
    user = await operations.accounts.get_user(device.user_id)
    return device_view(operations, renamed, user.handle)


async def _revoke(operations: Operations, arguments: OneDevice) -> Revoked:
    ended = await operations.accounts.revoke_device(arguments.device_id)
    return Revoked(connections_closed=operations.end(ended))


LIST = Command("devices.list", WhichDevices, list[DeviceView], _list)
RENAME = Command("devices.rename", NewName, DeviceView, _rename)
REVOKE = Command("devices.revoke", OneDevice, Revoked, _revoke)
