"""What commands print: JSON, or tables and sentences for people; and the lines of `listen`."""

import contextlib
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import click
import orjson
from pydantic import TypeAdapter
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.control import strip_control_codes
from rich.table import Table
from rich.text import Text

# Wide enough that a program which reads a table gets each row on one line.
_WIDE = 10_000

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))

FOLDED_ROWS: Final = 1000
"""Rows of a table up to which it is fitted to the terminal."""

Form = Literal["text", "json", "raw"]
"""How `listen` prints a message."""

_MODELS: TypeAdapter[Any] = TypeAdapter(Any)


def print_json(value: object) -> None:
    """Print the value as one line of JSON; keys whose value is None are left out."""
    plain = _MODELS.dump_python(value, mode="json", exclude_none=True)
    click.echo(orjson.dumps(plain).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table with the columns' titles, or the sentence `empty` without any row."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        click.echo(empty)
    elif len(cells) > FOLDED_ROWS:
        _print_long_table(columns, cells)
    else:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in cells:
            # Text, not markup: a device may call itself "[red]".
            table.add_row(*map(Text, row))
        console().print(table)


def _print_long_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a row on each line, however wide, since rich takes a minute for 20,000."""
    lines = [columns, *([strip_control_codes(cell) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (set_cell_size(*one) for one in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def console() -> Console:
    """Return a console on standard output, as wide as the terminal if it is one."""
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else _WIDE,
        highlight=False,
        soft_wrap=False,
    )


def when(milliseconds: int | None) -> str:
    """Return a time in the machine's time zone, to the minute."""
    if milliseconds is None:
        return "never"
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M")


def lasting(seconds: float) -> str:
    """Return a length of time in its largest whole unit."""
    whole = max(0, int(seconds))
    unit, size = next((one for one in _UNITS if whole >= one[1]), _UNITS[-1])
    return f"{whole // size} {unit}"


def counted(number: int, noun: str) -> str:
    """Return the number and its noun, in the plural unless the number is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


class MessagePrinter:
    """Prints the messages that `listen` gets on standard output, and the rest on standard error.

    It prints the frames of the server's own only when it is `verbose`. A durable message has the
    time when the server took it, any other the time when it arrived.
    """

    def __init__(self, form: Form, *, verbose: bool = False) -> None:
        self._form = form
        self._verbose = verbose

    def message(self, text: str, message: dict[str, Any]) -> None:
        """Print a message in the chosen form."""
        now = datetime.now(UTC)
        if self._form == "raw":
            click.echo(text)
        elif self._form == "json":
            record = {"received_at": int(now.timestamp() * 1000), **message}
            click.echo(orjson.dumps(record).decode())
        else:
            click.echo(f"{_moment(message, now)}  {_line(message)}")

    def frame(self, text: str, message: dict[str, Any]) -> None:
        """Print a frame of the server's own: as text on standard error, else like a message."""
        if not self._verbose:
            return
        if self._form == "text":
            self.state(_line(message))
        else:
            self.message(text, message)

    def state(self, sentence: str) -> None:
        """Print a change of state."""
        click.echo(sentence, err=True)


def _moment(message: dict[str, Any], now: datetime) -> str:
    """Return the time of the message in the machine's time zone; with the day unless it is today's.

    Without a time of its own, or with one that no calendar has, it is that of its arrival.
    """
    taken = now
    if isinstance(time := message.get("time"), int):
        with contextlib.suppress(ValueError, OverflowError, OSError):
            taken = datetime.fromtimestamp(time / 1000, UTC)
    local, today = taken.astimezone(), now.astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"


def _line(message: dict[str, Any]) -> str:
    source = message.get("from")
    sender = f"  from {source['device_id']}/{source['instance']}" if source else ""
    return f"{_mark(message)}{message['type']}{_key(message)}{sender}  {_content(message)}"


def _key(message: dict[str, Any]) -> str:
    """Return the key of a `latest` value."""
    return f" {_json(message['key'])}" if "key" in message else ""


def _content(message: dict[str, Any]) -> str:
    return "(deleted)" if message.get("deleted") else _json(message.get("payload"))


def _json(value: object) -> str:
    return printable(orjson.dumps(value).decode())


def _mark(message: dict[str, Any]) -> str:
    """Return the offset of a durable message, and whether it came as a snapshot's or a replay."""
    if "offset" not in message:
        return ""
    how = [name for name in ("snapshot", "replayed") if message.get(name)]
    return f"[{' '.join([str(message['offset']), *how])}]  "


def printable(text: str) -> str:
    """Return the JSON text with each unprintable character escaped: it may control a terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
