"""`version` and `completion`."""

import platform

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from app.base.version import VERSION
from app.cli.output import print_json

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
