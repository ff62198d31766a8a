"""`serve`: run the server until it is told to stop."""

import asyncio
import logging
import os
import shlex
import shutil
import sys
import threading
from pathlib import Path
from typing import Any, Final

import click

from app.auth.passwords import make_password
from app.base.logs import log_stray_errors, set_up
from app.base.version import VERSION
from app.cli.output import print_json
from app.cli.running import expected_errors, settings_from
from app.cli.settings_flags import settings_options, unknown_variables
from app.server import Serving
from app.server import serve as run_server
from app.settings import OPTIONS, Settings
from app.storage.damage import failures_told

if sys.platform == "win32":
    _LOOP_FACTORY = None
else:
    import uvloop

    _LOOP_FACTORY = uvloop.new_event_loop

FIRST_ADMIN = "admin"

_ROOT: Final = Path(__file__).resolve().parents[2]

LEFTOVER_SECONDS: Final = 1.0
"""Time for tasks and threads of features to end after the server has stopped."""

_SECRETS = sorted(option.variable for option in OPTIONS.values() if option.secret)

_HELP = f"""Run the server until SIGTERM or Ctrl-C.

Secrets come from the environment only: {", ".join(_SECRETS[:-1])} and {_SECRETS[-1]}.
`config` shows every setting and where it comes from.

\b
Examples:
  python -m app serve
  python -m app serve --host 0.0.0.0 --port 443 --tls-cert chain.pem --tls-key key.pem
  SWITCHBOARD_DATA_DIR=/var/lib/switchboard python -m app serve
"""


@click.command(help=_HELP)
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Announce the start as one JSON document.")
@click.option(
    "--new-database",
    is_flag=True,
    help="Begin with an empty database in a folder that has lost its own.",
)
@click.pass_context
def serve(context: click.Context, /, as_json: bool, new_database: bool, **flags: Any) -> None:
    """Run the server, and exit with its status."""
    settings = settings_from(flags)
    set_up(settings.log_level, settings.log_format)
    log_stray_errors()
    for sentence in unknown_variables():
        click.echo(f"Warning: {sentence}", err=True)

    async def on_ready(serving: Serving) -> None:
        await _announce(serving, settings, as_json)

    with expected_errors(), failures_told(), asyncio.Runner(loop_factory=_LOOP_FACTORY) as runner:
        status = runner.run(run_server(settings, on_ready=on_ready, new_database=new_database))
        # The server has stopped. What is left are tasks and threads of features.
        impatience = threading.Timer(LEFTOVER_SECONDS, _leave, (status,))
        impatience.daemon = True
        impatience.start()
    impatience.cancel()
    context.exit(status)


def _leave(status: int) -> None:
    """End the process, although a task or a thread of a feature does not end."""
    logging.getLogger(__name__).warning("stopped while a feature still ran")
    logging.shutdown()
    os._exit(status)


async def _announce(serving: Serving, settings: Settings, as_json: bool) -> None:
    """Print the server's address, and how to add a user."""
    password = await _first_admin(serving, settings)
    if as_json:
        first = {"handle": FIRST_ADMIN, "password": password} if password else None
        print_json(
            {"url": serving.url, "version": VERSION, "data_dir": settings.data_dir, "admin": first}
        )
        return
    click.echo(f"Switchboard {VERSION} serves {serving.url}")
    if password:
        click.echo(f"First start: user {FIRST_ADMIN} has the password {password}")
        another = command_line(settings, "users", "passwd", FIRST_ADMIN)
        click.echo(f"It is shown this once; another: {another}")
    elif not await serving.accounts.has_users():
        admin = command_line(settings, "users", "add", "HANDLE", "--admin")
        click.echo(f"There are no users yet. An admin: {admin}")
    click.echo(f"Add a user: {command_line(settings, 'users', 'add', 'HANDLE')}")


async def _first_admin(serving: Serving, settings: Settings) -> str | None:
    """Make an admin account if there is no user yet, and return its password.

    Only on a terminal: elsewhere the password would stay in a log.
    """
    if not sys.stdout.isatty() or await serving.accounts.has_users():
        return None
    password = make_password(settings.password_min_length)
    await serving.accounts.add_user(FIRST_ADMIN, password, ("admin",))
    return password


def command_line(settings: Settings, *words: str) -> str:
    """Return the words as a command for this data folder that can be pasted into a shell here."""
    script = _ROOT / "scripts" / "switchboard"
    default = Path(str(OPTIONS["data_dir"].default))
    if Path(sys.prefix).resolve() == (_ROOT / ".venv").resolve() and script.is_file():
        program = [_shown(script)]
        default = _ROOT / default
    else:
        program = [_python(), "-m", "app"]
    folder = settings.data_dir
    is_default = folder.absolute() == default.absolute()
    where = [] if is_default else ["--data-dir", str(folder)]
    return shlex.join([*program, *words, *where])


def _shown(script: Path) -> str:
    here = Path.cwd()
    return f"./{script.relative_to(here)}" if script.is_relative_to(here) else str(script)


def _python() -> str:
    """Return the shortest name of this Python: without its environment, `python` is another one."""
    return "python" if shutil.which("python") == sys.executable else sys.executable
