"""`check`: look for damage of the database."""

from collections.abc import Iterator
from typing import Final

import click

from app.cli.output import counted, print_json, when
from app.cli.running import expected_errors, output_options, settings_from
from app.storage.damage import DOCUMENTATION, failures_told
from app.storage.database import DATABASE_NAME
from app.streams import checking
from app.streams.checking import Report

DAMAGED: Final = 3
"""The exit status when damage was found."""

_SHOWN: Final = 20


@click.command()
@output_options
@click.pass_context
def check(context: click.Context, /, data_dir: str | None, as_json: bool) -> None:
    """Look for damage of the database, and change nothing.

    Runs SQLite's own check of the file, compares the checksum of every message, and counts whether
    rows are missing. A server may run meanwhile. The exit status is 0 if all is sound, 3 if there
    is damage or if a server has moved damaged messages aside, and 1 if the database could not be
    checked.

    \b
    Examples:
      python -m app check
      python -m app check --json | jq .damaged
    """
    settings = settings_from({"data_dir": data_dir})
    with expected_errors(), failures_told():
        report = checking.check(settings.data_dir / DATABASE_NAME)
    if as_json:
        print_json({"sound": report.sound, **_fields(report)})
    else:
        for name, value in _lines(report):
            click.echo(f"{name:<24}{value}")
        told = "The database is sound." if report.sound else f"Damage was found: {DOCUMENTATION}"
        click.echo(f"\n{told}")
    context.exit(0 if report.sound else DAMAGED)


def _fields(report: Report) -> dict[str, object]:
    return {name: getattr(report, name) for name in Report.__dataclass_fields__}


def _lines(report: Report) -> Iterator[tuple[str, object]]:
    yield "database", report.file
    yield "pages and indexes", "sound" if not report.pages else counted(len(report.pages), "fault")
    for fault in report.pages[:_SHOWN]:
        yield "", fault
    yield "messages", report.messages
    if report.unchecked:
        yield "without a checksum", f"{report.unchecked}, from before there were checksums"
    yield "damaged", _offsets(report.damaged)
    yield "rows missing", ", ".join(report.missing) or "none"
    moved = report.moved_aside
    last = f", the last one {when(max(one.found_at for one in moved))}" if moved else ""
    yield "moved aside", f"{_offsets([one.offset for one in moved])}{last}"


def _offsets(offsets: list[int]) -> str:
    if not offsets:
        return "none"
    named = ", ".join(map(str, offsets[:_SHOWN]))
    more = ", …" if len(offsets) > _SHOWN else ""
    return f"{len(offsets)}, at {'offset' if len(offsets) == 1 else 'offsets'} {named}{more}"
