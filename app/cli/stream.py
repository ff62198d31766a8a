"""`stream`: what is kept for whom."""

import sys
import time
from collections.abc import Iterator

import click
import orjson

from app.cli.output import counted, lasting, print_json, print_table, printable, when
from app.cli.running import output_options, perform
from app.cli.settings_flags import data_dir_option
from app.control import stream as control
from app.control.command import PAGE_ROWS, NoArguments
from app.control.stream import Budget, DeviceStanding, RowView, StreamInfo, WhichRows
from app.protocol.position import MAX_OFFSET

_PAYLOAD_WIDTH = 60


@click.group()
def stream() -> None:
    """Look at the messages that are kept, or begin a new numbering.

    USER is a handle, or id=NUMBER.
    """


@stream.command()
@click.argument("user", metavar="[USER]", required=False)
@output_options
def info(user: str | None, data_dir: str | None, as_json: bool) -> None:
    """Show how much is kept; for a USER, also how far each device is.

    A cursor is shown as it is on disk, which may be a second late.
    """
    found = perform(data_dir, control.INFO, control.WhichStream(user=user))
    if as_json:
        print_json(found)
        return
    for name, value in _figures(found):
        click.echo(f"{name:<24}{value}")
    if found.user is not None:
        click.echo()
        _print_devices(found.user.devices)


@stream.command()
@click.argument("user", metavar="[USER]", required=False)
@click.option(
    "--after",
    type=click.IntRange(0, MAX_OFFSET),
    default=0,
    metavar="OFFSET",
    help="Begin above this offset.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=50, metavar="N", show_default=True, help="At most N."
)
@click.option("--everyone", is_flag=True, help="What is kept for everyone, instead of a USER's.")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, with it all.")
def show(
    user: str | None,
    after: int,
    limit: int,
    everyone: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Show the messages that are kept for a USER, those for everyone among them.

    \b
    Examples:
      python -m app stream show alice
      python -m app stream show alice --after 4711 --json
      python -m app stream show --everyone
    """
    if everyone == (user is not None):
        raise click.UsageError("Give a USER or --everyone.")
    if as_json:
        for row in _rows(data_dir, user, after, limit):
            # A null payload is shown; other nulls are left out.
            print_json(row.model_dump(exclude_none=True) | {"payload": row.payload})
        return
    now = time.time()
    print_table(
        ("OFFSET", "AGE", "TO", "TYPE", "KEY", "TTL LEFT", "SIZE", "PAYLOAD"),
        (
            (
                row.offset,
                lasting(now - row.created_at / 1000),
                _receivers(row),
                row.type,
                row.key,
                lasting(row.expires_at / 1000 - now) if row.expires_at is not None else None,
                row.size,
                _cut(row),
            )
            for row in _rows(data_dir, user, after, limit)
        ),
        empty=f"Nothing is kept above {after}." if after else "Nothing is kept.",
    )


@stream.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_options
def reset(yes: bool, data_dir: str | None, as_json: bool) -> None:
    """Begin a new epoch: no client's position and no cursor holds any more.

    Every connection is closed and comes back; each client is told `reset` and has to fetch its
    state again. What is kept stays, but what a device had not received yet is not sent to it,
    except for the `latest` values.
    """
    if not yes:
        _confirm()
    done = perform(data_dir, control.RESET, NoArguments())
    if as_json:
        print_json(done)
        return
    closed = counted(done.connections_closed, "connection")
    click.echo(
        f"A new epoch has begun: {done.epoch}, after {done.before}; {closed} closed.\n"
        "Clients that come back with a position or a cursor are told `reset`, and fetch their "
        "state again."
    )


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("Without a terminal, confirm with --yes.")
    question = "Begin a new epoch? Every client will have to fetch its state again."
    click.confirm(question, abort=True, err=True)


def _figures(found: StreamInfo) -> Iterator[tuple[str, object]]:
    yield "epoch", found.epoch
    yield "last offset", found.last
    yield "messages kept", f"{found.rows} of {counted(found.users, 'user')} and everyone"
    yield "of devices", found.rows_of_devices
    yield "of everyone", f"{found.everyone_rows}, above {found.everyone_floor}"
    yield "users with a floor", found.users_with_floor
    yield "oldest message", when(found.oldest_at)
    yield "message ids", found.message_ids
    yield "database", f"{found.bytes} bytes"
    if (user := found.user) is not None:
        yield "user", user.user_handle or f"id={user.user_id}"
        yield "head", user.head
        yield "floor", user.floor
        yield "kept for them", user.rows
        yield "of their devices", _budget(user.of_devices)
        yield "of the backend", _budget(user.of_backend)
        most = f" of {user.max_new_ids}" if user.max_new_ids else ""
        yield "new message ids", f"{user.new_ids}{most} in 24 hours"


def _budget(budget: Budget) -> str:
    return f"{counted(budget.rows, 'message')} and {counted(budget.keys, 'latest value')}"


def _print_devices(devices: list[DeviceStanding]) -> None:
    print_table(
        ("DEVICE", "NAME", "STATE", "CURSOR", "LAG"),
        (
            (
                device.device_id,
                device.device_name,
                "online" if device.online else "away",
                f"{device.cursor} (old epoch)" if device.stale else device.cursor,
                device.lag,
            )
            for device in devices
        ),
        empty="This user has no devices.",
    )


def _rows(data_dir: str | None, user: str | None, after: int, limit: int) -> Iterator[RowView]:
    """Yield up to `limit` rows; many come in several pages."""
    more = True
    while more and limit:
        wanted = WhichRows(user=user, after=after, limit=min(limit, PAGE_ROWS))
        page = perform(data_dir, control.SHOW, wanted)
        yield from page.rows
        limit -= len(page.rows)
        more = page.more
        after = page.rows[-1].offset if page.rows else after


def _receivers(row: RowView) -> str:
    if row.target_device is not None:
        return f"device {row.target_device}"
    whose = "everyone" if row.user_id == 0 else "user"
    if row.without_device is None:
        return whose
    instance = f"/{row.without_instance}" if row.without_instance else ""
    return f"{whose} but {row.without_device}{instance}"


def _cut(row: RowView) -> str:
    if row.deleted:
        return "(deleted)"
    text = printable(orjson.dumps(row.payload).decode())
    return text if len(text) <= _PAYLOAD_WIDTH else f"{text[: _PAYLOAD_WIDTH - 1]}…"
