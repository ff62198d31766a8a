"""`check`: look for damage of the database, or for unsafe settings."""

from collections.abc import Iterator
from typing import Any, Final

import click

from app.base.errors import sentence
from app.cli.output import counted, print_json, when
from app.cli.running import expected_errors, settings_from
from app.cli.settings_flags import settings_options
from app.settings import load_usable_settings
from app.storage.damage import DOCUMENTATION, failures_told
from app.storage.database import DATABASE_NAME
from app.streams import checking
from app.streams.checking import Report

DAMAGED: Final = 3
"""The exit status when damage was found."""

_REFUSED: Final = "correct it: the server does not start with it"

_SHOWN: Final = 20


@click.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.option("--production", is_flag=True, help="Look for unsafe settings instead.")
@click.option(
    "--except",
    "excepted",
    multiple=True,
    metavar="NAME",
    help="Leave out what --production finds about this; may be given several times.",
)
@click.pass_context
def check(
    context: click.Context,
    /,
    as_json: bool,
    production: bool,
    excepted: tuple[str, ...],
    **flags: Any,
) -> None:
    """Look for damage of the database, or for unsafe settings, and change nothing.

    Runs SQLite's own check of the file, compares the checksum of every message, and counts whether
    rows are missing. A server may run meanwhile. The exit status is 0 if all is sound, 3 if there
    is damage or if a server has moved damaged messages aside, and 1 if the database could not be
    checked.

    With --production it names every setting that is unsafe where strangers reach the server, with
    what to do, and exits with 1 if there is one. Give it the flags and the environment of `serve`,
    and run it as the server's user. --except is for what you have judged yourself, such as `host`
    in a container.

    \b
    Examples:
      python -m app check
      python -m app check --json | jq .damaged
      python -m app check --production --except host
    """
    if production:
        context.exit(_check_production(flags, frozenset(excepted), as_json=as_json))
    if excepted or any(flags[name] is not None for name in flags if name != "data_dir"):
        raise click.UsageError("The flags of serve, and --except, go with --production.")
    context.exit(_check_database(flags["data_dir"], as_json=as_json))


def _check_database(data_dir: str | None, *, as_json: bool) -> int:
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
    return 0 if report.sound else DAMAGED


def _check_production(flags: dict[str, Any], excepted: frozenset[str], *, as_json: bool) -> int:
    # These bring the whole server along, which the check of a database does not need.
    from app.cli.production import SUBJECTS, Finding, judge  # noqa: PLC0415
    from app.cli.surroundings import Surroundings  # noqa: PLC0415

    for name in sorted(excepted - {*SUBJECTS}):
        raise click.UsageError(f"--except {name}: there is no such setting.")
    with expected_errors():
        settings, refused = load_usable_settings(flags)
        found = [Finding(name, told.rstrip("."), _REFUSED) for name, told in refused]
        found += judge(settings, Surroundings.look(settings.data_dir))
    kept = [one for one in found if one.about not in excepted]
    if as_json:
        print_json({"safe": not kept, "findings": kept})
    else:
        for one in kept:
            click.echo(f"{one.about:<24}{one.fault}.\n{'':<24}{sentence(one.do)}")
        click.echo(_verdict(len(kept), len(found) - len(kept)))
    return 1 if kept else 0


def _verdict(kept: int, left_out: int) -> str:
    told = "Nothing unsafe was found." if not kept else f"\nUnsafe: {counted(kept, 'finding')}."
    return f"{told} Left out: {counted(left_out, 'finding')}." if left_out else told


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
