"""`python -m app`: every command, and those about the program itself."""

import platform
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from app.base.version import VERSION
from app.cli.api_keys import keys
from app.cli.backup import backup, restore
from app.cli.check import check
from app.cli.devices import devices
from app.cli.listen import listen
from app.cli.output import print_json, print_table
from app.cli.running import settings_from
from app.cli.send import send
from app.cli.serve import serve
from app.cli.settings_flags import effective, settings_options, unknown_variables
from app.cli.stream import stream
from app.cli.tokens import tokens
from app.cli.users import users

PROGRAM = "switchboard"
COMPLETE_VARIABLE = "_SWITCHBOARD_COMPLETE"

_SHELLS: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}

_data_dir = click.option(
    "--data-dir", hidden=True, help="Taken as on every command; changes nothing."
)


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


@click.command()
@_data_dir
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
def version(data_dir: str | None, as_json: bool) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": VERSION, "python": platform.python_version()})
    else:
        click.echo(VERSION)


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@_data_dir
@click.pass_context
def completion(context: click.Context, /, shell: str, data_dir: str | None) -> None:
    """Print a completion script for your shell.

    It completes the command `switchboard`, which is scripts/switchboard.

    \b
    Examples, with scripts/ on the PATH:
      switchboard completion bash > ~/.local/share/bash-completion/completions/switchboard
      switchboard completion zsh > "${fpath[1]}/_switchboard"
      switchboard completion fish > ~/.config/fish/completions/switchboard.fish
    """
    commands = context.find_root().command
    click.echo(_SHELLS[shell](commands, {}, PROGRAM, COMPLETE_VARIABLE).source())


class _InThisOrder(click.Group):
    """Lists the commands as a newcomer needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)


@click.group(cls=_InThisOrder, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Switchboard: messages between the devices of your users.

    \b
    A first tour, each line in a terminal of its own:
      python -m app serve
      python -m app users add alice
      python -m app listen alice --device phone
      python -m app listen alice --device laptop

    What is typed in one of the last two arrives on the other. Every setting can also come from
    the environment, as SWITCHBOARD_ and its name in capitals.
    """


for command in (
    *(serve, users, devices, tokens, keys, send, listen, stream),
    *(backup, restore, check),
    *(config, version, completion),
):
    commands.add_command(command)


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    commands.main(complete_var=COMPLETE_VARIABLE)
