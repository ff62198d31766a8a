"""`python -m app`: every command, and those about the program itself.

Only `serve`, and commands that work on the database themselves, need the server's libraries, which
take a second to import. So those commands are imported when they are run.
"""

import platform
from importlib import import_module
from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from app.base.version import VERSION
from app.cli.api_keys import keys
from app.cli.connections import connections
from app.cli.devices import devices
from app.cli.limits import limits
from app.cli.output import print_json, print_table
from app.cli.prune import prune
from app.cli.running import settings_from
from app.cli.send import send
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


class Deferred(click.Command):
    """Stands for a command in lists, and imports it from `module` when it is to run."""

    def __init__(self, name: str, module: str, what: str) -> None:
        super().__init__(name, short_help=what)
        self._module = module

    def load(self) -> click.Command:
        """Import the command and return it."""
        command: click.Command = getattr(import_module(self._module), str(self.name))
        return command


class _Program(click.Group):
    """Lists the commands as a newcomer needs them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name of the command that is to run, the command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Deferred) else command, rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        return list(self.commands)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"]})
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
    Deferred("serve", "app.cli.serve", "Run the server until SIGTERM or Ctrl-C."),
    *(users, devices, connections, tokens, keys, send),
    Deferred("listen", "app.cli.listen", "Be a device: print what arrives, send what is typed."),
    *(stream, limits, prune),
    Deferred(
        "backup", "app.cli.backup", "Write a verified backup to FILE, also while the server runs."
    ),
    Deferred(
        "restore",
        "app.cli.backup",
        "Put the backup FILE back as the database, while no server runs.",
    ),
    Deferred(
        "check",
        "app.cli.check",
        "Look for damage of the database, or for unsafe settings, and change nothing.",
    ),
    *(config, version, completion),
):
    commands.add_command(command)


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    commands.main(complete_var=COMPLETE_VARIABLE)
