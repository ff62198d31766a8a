"""`devices`: what people sign in with."""

import click

from app.cli.output import counted, print_json, print_table, when
from app.cli.running import ROW_NUMBER, output_options, page_options, perform, rows_of
from app.control import devices as control
from app.control.devices import DeviceView, NewName, OneDevice, WhichDevices

_device = click.argument("device_id", metavar="ID", type=ROW_NUMBER)


@click.group()
def devices() -> None:
    """List, rename and revoke devices."""


@devices.command("list")
@click.argument("user", metavar="[USER]", required=False)
@click.option("--all", "removed", is_flag=True, help="Include revoked and pruned devices.")
@page_options
@output_options
def list_(
    user: str | None,
    removed: bool,
    after: int,
    limit: int | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """List the devices of USER (a handle or id=NUMBER), or of everybody, by their numbers."""
    wanted = WhichDevices(user=user, removed=removed, after=after)
    found = rows_of(data_dir, control.LIST, wanted, limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "USER", "NAME", "TYPE", "STATE", "LAST SEEN", "UUID"),
        (
            (
                device.id,
                device.user_handle or f"id={device.user_id}",
                device.device_name,
                device.device_type,
                _state(device),
                when(device.last_seen),
                device.device_uuid,
            )
            for device in found
        ),
        empty="There are no devices; one appears when somebody signs in.",
    )


@devices.command()
@_device
@click.argument("name")
@output_options
def rename(device_id: int, name: str, data_dir: str | None, as_json: bool) -> None:
    """Give a device another name."""
    device = perform(data_dir, control.RENAME, NewName(device_id=device_id, name=name))
    if as_json:
        print_json(device)
    else:
        click.echo(f"Device {device.id} is called {device.device_name}.")


@devices.command()
@_device
@output_options
def revoke(device_id: int, data_dir: str | None, as_json: bool) -> None:
    """End all sessions of a device and remove it; it is off within a second."""
    revoked = perform(data_dir, control.REVOKE, OneDevice(device_id=device_id))
    if as_json:
        print_json(revoked)
    else:
        closed = counted(revoked.connections_closed, "connection")
        click.echo(f"Device {device_id} is revoked; {closed} closed.")


def _state(device: DeviceView) -> str:
    if device.removed_at is not None:
        return "removed"
    return "online" if device.online else "away"
