"""`connections`: who is connected now, and what goes in and out."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
import orjson

from app.base.errors import NoServer, Problem
from app.cli.output import counted, lasting, print_json, print_table, printable, when
from app.cli.running import (
    ROW_NUMBER,
    Failure,
    collect,
    output_options,
    perform,
    run,
    settings_from,
)
from app.cli.settings_flags import data_dir_option
from app.control import connections as control
from app.control.address import SOCKET_NAME
from app.control.calling import NO_ANSWER, call_feed
from app.control.connections import (
    KICKS,
    ConnectionView,
    Kick,
    Kicked,
    TailLine,
    WhatToTail,
    WhichConnections,
    network_of,
)
from app.control.performing import perform_feed
from app.settings import Settings

AGAIN_SECONDS: Final = 0.5
"""Between two looks for a server that was stopped."""

_CODES: Final = "; ".join(
    f"{one.code} {one.reason}, {'comes back' if one.reconnect else 'does not come back by itself'}"
    for one in KICKS.values()
)


class _Address(click.ParamType[str]):
    """An address or a network."""

    name = "address"

    def convert(self, value: Any, _: object, __: object) -> str:
        """Return the text, if it is one."""
        try:
            network_of(value)
        except ValueError:
            self.fail("give an address, or a network such as 10.0.0.0/8.")
        return str(value)


_id = click.argument("connection_id", metavar="[ID]", required=False)
_user = click.option("--user", metavar="USER", help="Those of a user: a handle or id=NUMBER.")
_device = click.option("--device", type=ROW_NUMBER, metavar="ID", help="Those of a device.")
_address = click.option(
    "--address", type=_Address(), metavar="A", help="Those from an address, or from a network."
)


@click.group()
def connections() -> None:
    """List, close and follow live connections.

    ID is a connection's id, as `list` and the server's log show it.
    """


@connections.command("list")
@_user
@_device
@_address
@output_options
def list_(
    user: str | None,
    device: int | None,
    address: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """List the live connections: of all users, or those that match all that is given.

    LAG is how many offsets it is behind its user's stream, WAITS the bytes in its outbox. STATE is
    live, behind (it reads what it missed) or slow (bytes wait for it).

    \b
    Examples:
      python -m app connections list
      python -m app connections list --user alice --json
      python -m app connections list --address 192.0.2.0/24
    """
    which = WhichConnections(user=user, device_id=device, address=address)
    found = collect(data_dir, control.LIST, which)
    if as_json:
        print_json(found)
        return
    now = time.time()
    print_table(
        (
            *("ID", "USER", "DEVICE", "INSTANCE", "ADDRESS", "SINCE", "HEARD", "STATE"),
            *("LAG", "WAITS", "IN", "OUT", "DROPPED"),
        ),
        (_row(one, now) for one in found),
        empty="There are no such connections."
        if which.model_dump(exclude_none=True)
        else "Nobody is connected.",
    )


@connections.command()
@_id
@_user
@_device
@_address
@click.option(
    "--code",
    type=click.Choice([str(code) for code in KICKS]),
    default="4004",
    show_default=True,
    help=f"The close code: {_CODES}.",
)
@click.option("--dry-run", is_flag=True, help="Only count them.")
@output_options
def kick(
    connection_id: str | None,
    user: str | None,
    device: int | None,
    address: str | None,
    code: str,
    dry_run: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Close live connections: the one with ID, or those that match all that is given.

    Nothing is revoked: to keep somebody out, use `users disable` or `devices revoke`. With 4501 and
    4502 clients take their session for over; with 4502 ours forget their position and what they
    had still to send. If nothing matches, the exit status is 1.

    \b
    Examples:
      python -m app connections kick --user alice --dry-run
      python -m app connections kick --device 3
      python -m app connections kick --address 192.0.2.7 --code 1013
    """
    which = Kick(
        connection_id=connection_id,
        user=user,
        device_id=device,
        address=address,
        code=int(code),
        dry_run=dry_run,
    )
    if (connection_id, user, device, address) == (None, None, None, None):
        raise click.UsageError("Give an ID, --user, --device or --address.")
    kicked = perform(data_dir, control.KICK, which)
    if not kicked.matched:
        raise Failure("No connection matches.")
    if as_json:
        print_json(kicked)
    else:
        click.echo(_told(kicked, dry_run=dry_run))


@connections.command()
@_id
@_user
@_device
@click.option(
    "--types",
    metavar="T,…",
    multiple=True,
    help="Only messages of these types; note.* means all that begin with note.",
)
@click.option("--payloads", is_flag=True, help="Show payloads, which are private, too.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def tail(
    connection_id: str | None,
    user: str | None,
    device: int | None,
    types: tuple[str, ...],
    payloads: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Follow what goes in and out of live connections, until Ctrl-C.

    Of one connection, of all of a USER or a device, or of everybody; connections that come later
    are followed too. A line has the time, the connection, its device and instance, `in` (from the
    client) or `out`, the type, and what there is of id, offset and size. `refused` is a message
    that its outbox was too full for. Nobody waits for the terminal: lines that it cannot take are
    counted and told. The server's log says who is followed.

    \b
    Examples:
      python -m app connections tail --user alice
      python -m app connections tail --device 3 --types note.*,device.send
      python -m app connections tail --user alice --payloads --json
    """
    what = WhatToTail(
        connection_id=connection_id,
        user=user,
        device_id=device,
        types=[one for text in types for one in text.split(",") if one],
        payloads=payloads,
    )
    settings = settings_from({"data_dir": data_dir})
    show = _print_json if as_json else _print_line
    try:
        run(_tail(settings, what, show))
    except KeyboardInterrupt:
        click.echo("", err=True)


async def _tail(settings: Settings, what: WhatToTail, show: Callable[[TailLine], None]) -> None:
    """Show the lines; when the server stops, wait for it and go on."""
    began = stopped = False
    while True:
        try:
            async for line in _lines(settings, what, again=began):
                if line.what == "began":
                    _say_began(line, again=stopped)
                    began, stopped = True, False
                else:
                    show(line)
        except (NoServer, Problem) as fault:
            if not began or (isinstance(fault, Problem) and fault.code != NO_ANSWER):
                raise
            if not stopped:
                click.echo("The server has stopped; waiting for it.", err=True)
            stopped = True
        else:
            click.echo("The connection has ended.", err=True)
            return
        await asyncio.sleep(AGAIN_SECONDS)


def _lines(settings: Settings, what: WhatToTail, *, again: bool) -> AsyncGenerator[TailLine, None]:
    if again:
        # Looking for a server that starts must not take the lock that it needs.
        return call_feed(settings.data_dir / SOCKET_NAME, control.TAIL, what)
    return perform_feed(settings, control.TAIL, what)


def _say_began(line: TailLine, *, again: bool) -> None:
    back = "The server is back. " if again else ""
    followed = counted(line.count or 0, "connection")
    click.echo(f"{back}Following {followed}; Ctrl-C ends it.", err=True)


def _print_json(line: TailLine) -> None:
    told = line.model_dump(exclude_none=True)
    click.echo(orjson.dumps(told).decode())


def _print_line(line: TailLine) -> None:
    moment = datetime.fromtimestamp(line.at / 1000, UTC).astimezone()
    if line.what == "lost":
        missing = f"{counted(line.count or 0, 'line')} left out: the terminal was too slow."
        click.echo(f"{moment:%H:%M:%S}  {missing}")
        return
    who = f"{line.connection_id}  {line.device_id}/{line.instance}"
    parts = (
        printable(line.type) if line.type is not None else None,
        f"id={printable(line.id)}" if line.id is not None else None,
        f"offset={line.offset}" if line.offset is not None else None,
        counted(line.bytes, "byte") if line.bytes is not None else None,
        str(line.code) if line.code is not None else None,
        line.reason,
        printable(orjson.dumps(line.payload).decode()) if line.payload is not None else None,
    )
    about = "  ".join(part for part in parts if part is not None)
    click.echo(f"{moment:%H:%M:%S}  {who}  {line.what:<3}  {about}".rstrip())


def _row(one: ConnectionView, now: float) -> tuple[object, ...]:
    return (
        one.connection_id,
        one.user_handle or f"id={one.user_id}",
        f"{one.device_id} {one.device_name}" if one.device_name else one.device_id,
        one.instance,
        one.address,
        when(one.connected_at),
        f"{lasting(one.heard_seconds)} ago",
        "behind" if one.behind else "slow" if one.slow else "live",
        one.lag,
        one.queue_bytes,
        one.messages_in,
        one.messages_out,
        one.dropped,
    )


def _told(kicked: Kicked, *, dry_run: bool) -> str:
    back = "come back" if kicked.reconnect else "do not come back by themselves"
    found = counted(kicked.matched, "connection")
    if dry_run:
        return f"Would close {found} with {kicked.code} {kicked.reason}; clients {back}."
    return (
        f"Closed {counted(kicked.closed, 'connection')} with {kicked.code} {kicked.reason}; "
        f"clients {back}."
    )
