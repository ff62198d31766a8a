"""`python -m app`: every command."""

import click

from app.cli.about import COMPLETE_VARIABLE, completion, version
from app.cli.api_keys import keys
from app.cli.config import config
from app.cli.devices import devices
from app.cli.listen import listen
from app.cli.send import send
from app.cli.serve import serve
from app.cli.stream import stream
from app.cli.tokens import tokens
from app.cli.users import users


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
    *(config, version, completion),
):
    commands.add_command(command)


def main() -> None:
    """Run the command that the arguments name, and exit with its status."""
    commands.main(complete_var=COMPLETE_VARIABLE)
