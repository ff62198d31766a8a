"""`tokens`: sessions made by the operator, for scripts and an application's own backend."""

import click

from app.cli.input import first_line
from app.cli.output import counted, print_json, print_table, when
from app.cli.running import ROW_NUMBER, output_options, perform
from app.control import tokens as control
from app.control.tokens import NewToken, OneToken, WhoseTokens

_user = click.argument("user", metavar="USER")


@click.group()
def tokens() -> None:
    """Issue, list and revoke tokens.

    A token is a session: what a device presents in its Authorization header.
    USER is a handle, or id=NUMBER.
    """


@tokens.command()
@_user
@click.option("--device-uuid", required=True, metavar="UUID", help="8 to 64 of A-Z a-z 0-9 and -.")
@click.option(
    "--device-type",
    required=True,
    metavar="TYPE",
    help="web, android, android_tv or ios; anything else becomes unknown.",
)
@click.option("--device-name", metavar="NAME", help="What people call the device.")
@click.option("--label", metavar="TEXT", help="What the token is for, shown by `tokens list`.")
@output_options
def issue(
    user: str,
    device_uuid: str,
    device_type: str,
    device_name: str | None,
    label: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Print a new token for a device of USER, alone on stdout. It is shown this once.

    \b
    Example:
      python -m app tokens issue alice --device-uuid kitchen-tv --device-type android_tv
    """
    issued = perform(
        data_dir,
        control.ISSUE,
        NewToken(
            user=user,
            device_uuid=device_uuid,
            device_type=device_type,
            device_name=device_name,
            label=label,
        ),
    )
    if as_json:
        print_json(issued)
    else:
        click.echo(issued.token)


@tokens.command("list")
@_user
@output_options
def list_(user: str, data_dir: str | None, as_json: bool) -> None:
    """List the sessions of USER."""
    found = perform(data_dir, control.LIST, WhoseTokens(user=user))
    if as_json:
        print_json(found)
        return
    print_table(
        ("SESSION", "DEVICE", "LABEL", "CREATED", "LAST USED", "ENDS"),
        (
            (
                session.session_id,
                session.device_id,
                session.label,
                when(session.created_at),
                when(session.last_used),
                when(session.expires_at),
            )
            for session in found
        ),
        empty="There are no sessions.",
    )


@tokens.command()
@click.argument("session", metavar="SESSION")
@output_options
def revoke(session: str, data_dir: str | None, as_json: bool) -> None:
    """End a session: SESSION is its number from `tokens list`, or - for a token on stdin."""
    if session == "-":
        which = OneToken(token=first_line("token"))
    else:
        which = OneToken(session_id=ROW_NUMBER(session))
    revoked = perform(data_dir, control.REVOKE, which)
    if as_json:
        print_json(revoked)
    else:
        closed = counted(revoked.connections_closed, "connection")
        click.echo(f"The session is revoked; {closed} closed.")
