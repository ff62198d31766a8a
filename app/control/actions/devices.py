"""What the commands on devices do."""

from operator import attrgetter
from typing import Final

from app.control import devices as commands
from app.control.actions.action import Action
from app.control.command import Page
from app.control.devices import DeviceView, NewName, OneDevice, Revoked, WhichDevices
from app.control.operations import Operations
from app.storage.devices import Device
from app.storage.directory import user_names


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


async def _list(operations: Operations, arguments: WhichDevices) -> Page[DeviceView]:
    limit, user_id = arguments.limit, None
    if arguments.user is not None:
        user_id = (await operations.user(arguments.user)).id
    found = await operations.accounts.list_devices(
        user_id, arguments.removed, after=arguments.after, limit=limit + 1
    )
    async with operations.database.lookup() as connection:
        names = await user_names(connection, {device.user_id for device in found})

    def view(device: Device) -> DeviceView:
        name = names.get(device.user_id)
        return device_view(operations, device, name.handle if name is not None else None)

    return Page[DeviceView].of(found, limit, attrgetter("id"), view)


async def _rename(operations: Operations, arguments: NewName) -> DeviceView:
    device = await operations.accounts.get_device(arguments.device_id)
    renamed = await operations.accounts.rename_device(device.user_id, device.id, arguments.name)
    user = await operations.accounts.get_user(device.user_id)
    return device_view(operations, renamed, user.handle)


async def _revoke(operations: Operations, arguments: OneDevice) -> Revoked:
    ended = await operations.accounts.revoke_device(arguments.device_id)
    return Revoked(connections_closed=operations.end(ended))


ACTIONS: Final = (
    Action(commands.LIST, _list),
    Action(commands.RENAME, _rename),
    Action(commands.REVOKE, _revoke),
)
