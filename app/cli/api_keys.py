"""`keys`: the API keys that an application's backend presents to the HTTP API."""

from typing import get_args

import click

from app.cli.output import print_json, print_table, when
from app.cli.running import ROW_NUMBER, output_options, page_options, perform, rows_of
from app.control import api_keys as control
from app.control.api_keys import KeyView, NewKey, OneKey, Scope, WhichKeys
from app.protocol.messages import is_type


@click.group()
def keys() -> None:
    """Add, list and revoke API keys.

    Your application's backend presents a key to send messages over HTTP.
    """


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(get_args(Scope)),
    multiple=True,
    required=True,
    help="What it is for: send messages, read users, streams, devices, or all. Repeatable.",
)
@click.option(
    "--prefix",
    "prefixes",
    metavar="PREFIX",
    multiple=True,
    help="Send only types with this text before the first dot. Repeatable.",
)
@output_options
def add(
    name: str,
    scopes: tuple[control.Scope, ...],
    prefixes: tuple[str, ...],
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Print a new API key, alone on stdout. It is shown this once.

    \b
    Examples:
      python -m app keys add shop --scope send --scope read
      python -m app keys add mailer --scope send --prefix notification
    """
    arguments = NewKey(name=name, scopes=list(scopes), prefixes=_checked(prefixes))
    issued = perform(data_dir, control.ADD, arguments)
    if as_json:
        print_json(issued)
    else:
        click.echo(issued.key)


@keys.command("list")
@click.option("--all", "revoked", is_flag=True, help="Include revoked keys.")
@page_options
@output_options
def list_(
    revoked: bool, after: int, limit: int | None, data_dir: str | None, as_json: bool
) -> None:
    """List the API keys, never the keys themselves, by their numbers."""
    wanted = WhichKeys(revoked=revoked, after=after)
    found = rows_of(data_dir, control.LIST, wanted, limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "NAME", "SCOPES", "PREFIXES", "STATE", "CREATED", "LAST USED"),
        (
            (
                key.id,
                key.name,
                ", ".join(key.scopes),
                ", ".join(key.prefixes) or "all",
                _state(key),
                when(key.created_at),
                when(key.last_used),
            )
            for key in found
        ),
        empty="There are no API keys; `keys add` makes one.",
    )


@keys.command()
@click.argument("key_id", metavar="ID", type=ROW_NUMBER)
@output_options
def revoke(key_id: int, data_dir: str | None, as_json: bool) -> None:
    """Have a key refused from now on; ID is its number from `keys list`."""
    key = perform(data_dir, control.REVOKE, OneKey(key_id=key_id))
    if as_json:
        print_json(key)
    else:
        click.echo(f"Key {key.id} ({key.name}) is revoked.")


def _checked(prefixes: tuple[str, ...]) -> list[str]:
    for prefix in prefixes:
        if not is_type(prefix) or "." in prefix:
            raise click.BadParameter(
                "a prefix is the text before the first dot of a type: a-z, 0-9 and _.",
                param_hint="--prefix",
            )
    return list(prefixes)


def _state(key: KeyView) -> str:
    return "active" if key.revoked_at is None else "revoked"
