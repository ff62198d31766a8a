"""How a command gets its result, and how an error becomes a sentence and an exit status."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, ParamSpec, TypeVar

import click

from app.base.errors import SettingsError, SwitchboardError, sentence
from app.cli.settings_flags import data_dir_option
from app.control import performing
from app.control.command import MAX_ID, PAGE_ROWS, A, Command, Feed, Page, PageArguments, R, V
from app.settings import Settings, load_settings

P = ParamSpec("P")
T = TypeVar("T")
L = TypeVar("L", bound=PageArguments)


ROW_NUMBER = click.IntRange(1, MAX_ID)
"""The number of a device, a session or an API key."""


class Failure(click.ClickException):
    """An expected error: a sentence for standard error, and the exit status 1."""


class UnusableSettings(Failure):
    """The settings are at fault: a sentence for each reason, and the exit status 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print each sentence on a line of its own."""
        for fault in self.message.splitlines():
            click.echo(f"Error: {fault}", file=file, err=file is None)


@contextmanager
def expected_errors() -> Iterator[None]:
    """Turn the errors that a person can do something about into a Failure."""
    try:
        yield
    except SettingsError as error:
        raise UnusableSettings("\n".join(error.faults)) from None
    except SwitchboardError as error:
        raise Failure(sentence(str(error))) from None
    except BrokenPipeError:
        # The reader of the output has gone, as `head` does; click then ends silently.
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{sentence(error.strerror or str(error))}") from None


def settings_from(flags: Mapping[str, Any]) -> Settings:
    """Return the effective settings; raise Failure with exit status 2 when they are unusable."""
    with expected_errors():
        return load_settings(flags)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the outcome of the work; raise Failure for an expected error."""
    with expected_errors():
        return asyncio.run(work)


def perform(data_dir: str | None, command: Command[A, R], arguments: A) -> R:
    """Return the command's result, from the running server or from the data folder itself."""
    settings = settings_from({"data_dir": data_dir})
    return run(performing.perform(settings, command, arguments))


def rows_of(
    data_dir: str | None,
    command: Command[L, Page[V]],
    wanted: L,
    limit: int | None,
) -> list[V]:
    """Return the rows of a list, up to `limit`, asked for page by page.

    Tells on standard error how to get what comes after the last of them.
    """
    rows: list[V] = []
    left = limit or sys.maxsize
    while True:
        wanted = wanted.model_copy(update={"limit": min(left, PAGE_ROWS)})
        page = perform(data_dir, command, wanted)
        rows += page.rows
        left -= len(page.rows)
        if page.next is None:
            return rows
        if left <= 0:
            click.echo(f"There are more: --after {page.next}", err=True)
            return rows
        wanted = wanted.model_copy(update={"after": page.next})


def page_options(command: Callable[P, T]) -> Callable[P, T]:
    """Return the command of a list with `--after` and `--limit`."""
    after = click.option(
        "--after",
        type=click.IntRange(0, MAX_ID),
        default=0,
        metavar="ID",
        help="Begin above this number.",
    )
    limit = click.option(
        "--limit", type=click.IntRange(1), metavar="N", help="At most N; all without it."
    )
    return after(limit(command))


def collect(data_dir: str | None, feed: Feed[A, R], arguments: A) -> list[R]:
    """Return all items of the feed, or fail without any: half of them would be taken for all."""
    settings = settings_from({"data_dir": data_dir})

    async def items() -> list[R]:
        return [item async for item in performing.perform_feed(settings, feed, arguments)]

    return run(items())


def output_options(command: Callable[P, T]) -> Callable[P, T]:
    """Return the command with `--data-dir` and `--json`."""
    as_json = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
    )
    return data_dir_option(as_json(command))
