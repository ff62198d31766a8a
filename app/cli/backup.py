"""`backup` and `restore`: a copy of all that has to outlive the data folder, and its way back."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from app.base.errors import DataDirBusy
from app.base.files import give_to_owner
from app.base.version import VERSION
from app.cli.output import counted, print_json, when
from app.cli.running import expected_errors, output_options, settings_from
from app.control.address import SOCKET_NAME
from app.requests.cookies import COOKIE_KEY_FILE, place_cookie_key
from app.settings import Settings
from app.storage.backup import (
    COMPANIONS,
    BackupFault,
    Contents,
    Progress,
    backup_name,
    older_backups,
    read_contents,
    write_backup,
)
from app.storage.damage import failures_told
from app.storage.database import DATABASE_NAME
from app.storage.lock import LOCK_NAME, DataDirLock
from app.storage.schema import milliseconds
from app.streams.checking import faults_of
from app.streams.generation import GUARD_NAME
from app.streams.opening import refuse_lost
from app.streams.restoring import Restored, check_backup
from app.streams.restoring import restore as put_back

LOCK_SECONDS: Final = 1.0
"""How long a restore waits for a command that holds the data folder; a server holds it for ever."""

_OF_THE_FOLDER: Final = frozenset(
    {
        *(DATABASE_NAME, *(f"{DATABASE_NAME}{suffix}" for suffix in COMPANIONS)),
        *(GUARD_NAME, LOCK_NAME, COOKIE_KEY_FILE, SOCKET_NAME),
    }
)


@click.command()
@click.argument("target", metavar="FILE")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="FILE is a folder: keep the newest N backups in it, remove older ones.",
)
@output_options
def backup(
    target: str, overwrite: bool, keep: int | None, data_dir: str | None, as_json: bool
) -> None:
    """Write a verified backup to FILE, also while the server runs.

    It holds the database and the key of the cookies, so keep it secret. If FILE is a folder, the
    backup gets a name with the time in it. A FILE that is there already stays as it is if anything
    fails.

    \b
    Examples:
      python -m app backup /var/backups/switchboard.db --overwrite
      python -m app backup /var/backups/switchboard/ --keep 14
    """
    settings = settings_from({"data_dir": data_dir})
    folder = Path(target) if target.endswith("/") or Path(target).is_dir() else None
    if keep is not None and folder is None:
        raise click.UsageError("With --keep, FILE is a folder.")
    began, now = time.monotonic(), time.time()
    with expected_errors(), failures_told():
        file = Path(target) if folder is None else folder / backup_name(now)
        if folder is not None and not folder.is_dir():
            raise BackupFault(f"There is no folder {folder}.")
        database = _database_of(settings)
        _refuse_own_files(settings, file)
        notes = {"version": VERSION, "made_at": str(milliseconds(now)), **_cookie_key(settings)}
        with _shown() as progress:
            contents = write_backup(
                database, file, notes, overwrite=overwrite, progress=progress, verify=faults_of
            )
        removed = older_backups(folder, keep) if folder and keep is not None else []
        for old in removed:
            old.unlink()
    seconds = time.monotonic() - began
    if as_json:
        print_json(
            {
                "file": file,
                **_told(contents),
                "seconds": round(seconds, 3),
                "removed": removed,
            }
        )
        return
    click.echo(f"Backed up to {file}: {_size(contents)}, verified, in {seconds:.1f} s.")
    click.echo(f"It holds {_held(contents)}.")
    if removed:
        click.echo(f"Removed {counted(len(removed), 'older backup')}.")


@click.command()
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Put the database that is there aside, and keep it.")
@click.option(
    "--sign-out-everybody",
    "sign_out",
    is_flag=True,
    help="End all sessions and tokens of the users that the backup has.",
)
@click.option("--check", is_flag=True, help="Only check FILE, and tell what it holds.")
@output_options
def restore(
    source: Path,
    replace: bool,
    sign_out: bool,
    check: bool,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Put the backup FILE back as the database, while no server runs.

    FILE is what `backup` wrote, or another copy of the database. It is checked first, and stays
    as it is. Sign-outs and revocations of after the backup are undone: sessions, API keys and
    passwords are those of the backup again.

    \b
    Examples:
      python -m app restore /var/backups/switchboard.db
      python -m app restore /var/backups/switchboard.db --replace --sign-out-everybody
    """
    settings = settings_from({"data_dir": data_dir})
    if check and (replace or sign_out):
        raise click.UsageError("--check changes nothing.")
    with expected_errors(), failures_told():
        if check:
            _show_check(source, check_backup(source, faults_of), as_json)
            return
        # Before there is a folder to be locked.
        contents = read_contents(source)
        with _lock(settings), _shown() as progress:
            restored = put_back(
                source,
                settings.data_dir / DATABASE_NAME,
                settings.data_dir / GUARD_NAME,
                replace=replace,
                sign_out=sign_out,
                progress=progress,
            )
            _restore_cookie_key(settings, contents)
    _show_restored(source, restored, as_json, signed_out=sign_out)


# The data folder


def _database_of(settings: Settings) -> Path:
    refuse_lost(settings.data_dir)
    database = settings.data_dir / DATABASE_NAME
    if not database.exists():
        raise BackupFault(
            f"There is no database in {settings.data_dir}; name the data folder with --data-dir."
        )
    return database


def _refuse_own_files(settings: Settings, file: Path) -> None:
    if file.name in _OF_THE_FOLDER and file.resolve().parent == settings.data_dir.resolve():
        raise BackupFault(f"{file} is a file of the data folder itself.")


def _cookie_key(settings: Settings) -> dict[str, str]:
    """Return the key of the cookies, unless the settings have it."""
    path = settings.data_dir / COOKIE_KEY_FILE
    if settings.cookie_keys or not path.exists():
        return {}
    return {"cookie_key": path.read_text(encoding="ascii")}


def _restore_cookie_key(settings: Settings, contents: Contents) -> None:
    """Make the file with the backup's key, unless there is one."""
    if contents.cookie_key is not None and not settings.cookie_keys:
        place_cookie_key(settings.data_dir / COOKIE_KEY_FILE, contents.cookie_key.encode())
        give_to_owner(settings.data_dir, settings.data_dir / COOKIE_KEY_FILE)


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    lock = DataDirLock(settings.data_dir)
    try:
        asyncio.run(lock.acquire_within(LOCK_SECONDS))
    except DataDirBusy as busy:
        raise DataDirBusy(f"{busy} Stop the server first.") from None
    try:
        give_to_owner(settings.data_dir, settings.data_dir / LOCK_NAME)
        yield
    finally:
        lock.release()


# What is shown


@contextmanager
def _shown() -> Iterator[Progress]:
    """Give what shows the progress on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label="Copying", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done)
            if bar.finished:
                bar.label = "Checking"
                bar.render_progress()

        yield progress


def _show_check(source: Path, contents: Contents, as_json: bool) -> None:
    if as_json:
        print_json({"file": source, **_told(contents)})
        return
    click.echo(f"{source} is sound: {_size(contents)}{_made(contents)}.")
    click.echo(f"It holds {_held(contents)}.")


def _show_restored(source: Path, restored: Restored, as_json: bool, *, signed_out: bool) -> None:
    contents = restored.contents
    if as_json:
        print_json(
            {
                "file": source,
                **_told(contents),
                "aside": restored.aside,
                "sessions_ended": restored.sessions_ended,
            }
        )
        return
    click.echo(f"Put back {source}{_made(contents)}: {_held(contents)}.")
    if restored.aside is not None:
        click.echo(f"The database that was there is kept as {restored.aside}.")
    if signed_out:
        click.echo(f"Everybody is signed out: {counted(restored.sessions_ended, 'session')} ended.")
    elif contents.sessions:
        click.echo(
            f"{counted(contents.sessions, 'session')} of the backup can be used, also those that "
            "ended since: see --sign-out-everybody."
        )
    if contents.api_keys:
        names = ", ".join(contents.api_keys)
        click.echo(f"API keys that can be used, also those revoked since: {names}.")
    click.echo("Passwords, and who is disabled, are as in the backup. Now start the server.")


def _told(contents: Contents) -> dict[str, Any]:
    return {
        "bytes": contents.bytes,
        "epoch": contents.epoch,
        "last": contents.last,
        "messages": contents.messages,
        "users": contents.users,
        "sessions": contents.sessions,
        "api_keys": contents.api_keys,
        "cookie_key": contents.cookie_key is not None,
        "made_at": contents.made_at,
        "version": contents.version,
    }


def _held(contents: Contents) -> str:
    parts = [
        f"{counted(contents.messages, 'message')} up to offset {contents.last}",
        counted(contents.users, "user"),
        counted(contents.sessions, "session"),
        counted(len(contents.api_keys), "API key"),
    ]
    if contents.cookie_key is not None:
        parts.append("the key of the cookies")
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _made(contents: Contents) -> str:
    if contents.made_at is None:
        return ""
    return f", made {when(contents.made_at)} by version {contents.version}"


def _size(contents: Contents) -> str:
    return f"{contents.bytes / 1_000_000:,.1f} MB"
