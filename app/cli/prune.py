"""`prune`: remove now what the server removes by and by."""

import click

from app.cli.output import print_json, when
from app.cli.running import collect, output_options
from app.control import prune as control
from app.control.prune import HowToPrune

_KINDS = {
    "messages": "expired, too old or too many",
    "sessions": "beyond their end, or idle for too long",
    "jwts": "that signed out, beyond their end",
    "devices": "removed so long ago that nothing names them",
    "users": "deleted so long ago that nothing names them",
    "leftovers": "rows of what has ended: of deleted users, of sessions after a password change",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@output_options
def prune(dry_run: bool, data_dir: str | None, as_json: bool) -> None:
    """Remove now what the server removes by and by, and show how much went.

    It goes in steps, between which others write. Ctrl-C leaves the rest to the server. The file
    does not become smaller: SQLite uses the space again.

    \b
    Examples:
      python -m app prune --dry-run
      python -m app prune
    """
    [gone] = collect(data_dir, control.PRUNE, HowToPrune(dry_run=dry_run))
    if as_json:
        print_json(gone)
        return
    for kind, what in _KINDS.items():
        click.echo(f"{kind:<12}{getattr(gone, kind):>10}  {what}")
    verb = "Would remove" if dry_run else "Removed"
    click.echo(f"{verb} what was past at {when(gone.at)}, the time that the server trusts.")
