"""`limits`: who is at a limit."""

import time
from typing import Final

import click

from app.cli.output import lasting, print_json, print_table
from app.cli.running import output_options, perform
from app.control import limits as control
from app.control.limits import WhoseLimits

SETTINGS: Final[dict[str, str]] = {
    "messages": "user_messages_per_second",
    "bytes": "user_bytes_per_second",
    "deliveries": "user_deliveries_per_second",
    "durable": "user_durable_per_second",
    "upgrades": "user_upgrades_per_second",
    "writes": "user_writes_per_second",
    "devices": "new_devices_per_day",
    "connection": "messages_per_second, bytes_per_second",
    "connection_durable": "durable_per_second",
}
"""The settings that raise each limit; a server of another version may know more limits."""


@click.command()
@click.argument("user", metavar="[USER]", required=False)
@output_options
def limits(user: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show who met a limit in the last hour.

    For USER (a handle or id=NUMBER), or for everybody; the newest comes first. COUNT is how often
    since BEGAN; a limit that was not met for a minute begins anew. The server remembers this until
    it stops.

    \b
    Examples:
      python -m app limits
      python -m app limits alice --json
    """
    found = perform(data_dir, control.LIST, WhoseLimits(user=user))
    if as_json:
        print_json(found)
        return
    now = time.time()
    print_table(
        ("USER", "LIMIT", "COUNT", "BEGAN", "LAST", "SETTING"),
        (
            (
                met.user_handle or f"id={met.user_id}",
                met.limit,
                met.count,
                _ago(met.began_at, now),
                _ago(met.last_at, now),
                SETTINGS.get(met.limit),
            )
            for met in found
        ),
        empty=f"No limit was met{' by this user' if user else ''} in the last hour.",
    )


def _ago(milliseconds: int, now: float) -> str:
    return f"{lasting(now - milliseconds / 1000)} ago"
