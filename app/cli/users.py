"""`users`: who may sign in."""

from pathlib import Path

import click

from app.cli.input import password_from
from app.cli.output import counted, print_json, print_table, when
from app.cli.running import (
    expected_errors,
    output_options,
    page_options,
    perform,
    rows_of,
    settings_from,
)
from app.control import users as control
from app.control.command import PageArguments
from app.control.users import NewPassword, NewUser, OneUser, SignedOut, UserView

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin."
)
_user = click.argument("user", metavar="USER")


@click.group()
def users() -> None:
    """Add, list and change users.

    USER is a handle, or id=NUMBER (users of your own application have no handle here).
    """


@users.command()
@click.argument("handle")
@click.option("--admin", is_flag=True, help="Give the role admin.")
@_password_stdin
@output_options
def add(
    handle: str, admin: bool, password_stdin: bool, data_dir: str | None, as_json: bool
) -> None:
    """Add a user. The password is asked for, or read from stdin.

    \b
    Examples:
      python -m app users add alice
      pwgen 20 1 | python -m app users add alice --password-stdin
    """
    password = password_from(password_stdin, confirm=True)
    arguments = NewUser(handle=handle, password=password, admin=admin)
    user = perform(data_dir, control.ADD, arguments)
    if as_json:
        print_json(user)
    else:
        click.echo(f"Added {_name(user)} as user {user.id}.")


@users.command("list")
@page_options
@output_options
def list_(after: int, limit: int | None, data_dir: str | None, as_json: bool) -> None:
    """List the users, by their numbers."""
    found = rows_of(data_dir, control.LIST, PageArguments(after=after), limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "HANDLE", "ROLES", "STATE", "CREATED", "DEVICES ONLINE"),
        (
            (
                user.id,
                _name(user),
                ", ".join(user.roles),
                user.state,
                when(user.created_at),
                user.connected_devices,
            )
            for user in found
        ),
        empty="There are no users; `users add HANDLE` adds one.",
    )


@users.command()
@_user
@_password_stdin
@output_options
def passwd(user: str, password_stdin: bool, data_dir: str | None, as_json: bool) -> None:
    """Set a user's password. All their sessions end."""
    password = password_from(password_stdin, confirm=True)
    arguments = NewPassword(user=user, password=password)
    _show(perform(data_dir, control.SET_PASSWORD, arguments), "has a new password", as_json)


@users.command()
@_user
@output_options
def disable(user: str, data_dir: str | None, as_json: bool) -> None:
    """Keep a user out until `enable`. All their sessions end."""
    _show(perform(data_dir, control.DISABLE, OneUser(user=user)), "is disabled", as_json)


@users.command()
@_user
@output_options
def enable(user: str, data_dir: str | None, as_json: bool) -> None:
    """Let a disabled user sign in again."""
    enabled = perform(data_dir, control.ENABLE, OneUser(user=user))
    if as_json:
        print_json(enabled)
    else:
        click.echo(f"{_name(enabled)} is enabled.")


@users.command()
@_user
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_options
def delete(user: str, yes: bool, data_dir: str | None, as_json: bool) -> None:
    """Delete a user with all devices and sessions. The handle is free again.

    `users export` writes what is kept of them first.
    """
    if not yes:
        click.confirm(f"Delete {user} and all their devices?", abort=True, err=True)
    _show(perform(data_dir, control.DELETE, OneUser(user=user)), "is deleted", as_json)


@users.command()
@_user
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write to FILE, for its owner only, instead of to standard output.",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@output_options
def export(
    user: str, output: Path | None, overwrite: bool, data_dir: str | None, as_json: bool
) -> None:
    """Write everything that is kept of a user as one JSON document.

    That is the account, devices, sessions, positions and messages, as of one instant, also while
    the server runs. Nothing in it lets anybody sign in. Before `delete`, export: afterwards it is
    too late. USER may be the id=NUMBER of a deleted user, of whom little is left. With --output,
    --json tells what was written.

    \b
    Examples:
      python -m app users export alice --output alice.json
      python -m app users export alice | gzip > alice.json.gz
    """
    # Not for the other commands: it reads the database itself.
    from app.cli.export import export_to  # noqa: PLC0415

    settings = settings_from({"data_dir": data_dir})
    with expected_errors():
        exported = export_to(settings, user, output, overwrite=overwrite)
    if output is None:
        return
    if as_json:
        print_json({"file": output, "messages": exported.messages, "bytes": exported.bytes})
    else:
        messages = counted(exported.messages, "message")
        click.echo(f"Exported {user} to {output}: {messages}, {exported.bytes:,} bytes.")


def _show(changed: SignedOut, what: str, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        closed = counted(changed.connections_closed, "connection")
        click.echo(f"{_name(changed.user)} {what}; {closed} closed.")


def _name(user: UserView) -> str:
    return user.handle or f"{user.subject} of {user.issuer}"
