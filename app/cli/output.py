"""What commands print: one JSON document, or tables and sentences for people."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Rows are never wrapped or cut where a program reads them.
_WIDE = 10_000

_MODELS: TypeAdapter[Any] = TypeAdapter(Any)


def print_json(value: object) -> None:
    """Print the value as one line of JSON; keys whose value is None are left out."""
    plain = _MODELS.dump_python(value, mode="json", exclude_none=True)
    click.echo(orjson.dumps(plain).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print a table with the columns' titles, or the sentence `empty` without any row."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: a device may call itself "[red]".
        table.add_row(*(Text(_cell(value)) for value in row))
    if table.row_count:
        console().print(table)
    else:
        click.echo(empty)


def console() -> Console:
    """Return a console on standard output, as wide as the terminal if it is one."""
    return Console(
        file=sys.stdout,
        width=None if sys.stdout.isatty() else _WIDE,
        highlight=False,
        soft_wrap=False,
    )


def when(milliseconds: int | None) -> str:
    """Return a time as people here write it, to the minute."""
    if milliseconds is None:
        return "never"
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M")


def counted(number: int, noun: str) -> str:
    """Return the number and its noun, in the plural when it is due."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
