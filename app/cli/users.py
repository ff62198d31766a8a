"""`users`: who may sign in."""

import click

from app.cli.input import password_from
from app.cli.output import counted, print_json, print_table, when
from app.cli.running import output_options, page_options, perform, rows_of
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
    """Delete a user with all devices and sessions. The handle is free again."""
    if not yes:
        click.confirm(f"Delete {user} and all their devices?", abort=True, err=True)
    _show(perform(data_dir, control.DELETE, OneUser(user=user)), "is deleted", as_json)


def _show(changed: SignedOut, what: str, as_json: bool) -> None:
    if as_json:
        print_json(changed)
    else:
        closed = counted(changed.connections_closed, "connection")
        click.echo(f"{_name(changed.user)} {what}; {closed} closed.")


def _name(user: UserView) -> str:
    return user.handle or f"{user.subject} of {user.issuer}"
