"""`config`: the settings that a server started like this would have."""

from typing import Any

import click

from app.cli.output import print_json, print_table
from app.cli.running import settings_from
from app.cli.settings_flags import effective, settings_options, unknown_variables


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def config(as_json: bool, **flags: Any) -> None:
    """Show the effective settings and where each comes from.

    Takes the flags of `serve`. Secrets are masked; they come from the environment only.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = effective(settings_from(given), given)
    for sentence in unknown_variables():
        click.echo(f"Warning: {sentence}", err=True)
    if as_json:
        print_json(settings)
        return
    print_table(
        ("NAME", "VALUE", "SOURCE", "UNIT", "WHAT"),
        ((one.name, one.value, one.source, one.unit, one.what) for one in settings),
        empty="",
    )
