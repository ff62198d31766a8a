"""`listen`: be a device, print what arrives and send what is typed."""

import asyncio
import os
import uuid
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import click

from app.cli.input import Keyboard, password_from
from app.cli.output import Form, MessagePrinter
from app.cli.running import Failure, run, settings_from
from app.cli.settings_flags import TOKEN_VARIABLE, data_dir_option
from app.control import stream, tokens
from app.control.command import NoArguments
from app.control.performing import perform
from app.control.status import STATUS
from app.control.stream import WhichStream
from app.control.tokens import NewToken
from app.listen.listener import Access, Listener, Listening
from app.listen.recovery import PLAIN, Kept, Start
from app.listen.signing import Credentials, sign_in, sign_out, trust
from app.protocol.position import MAX_OFFSET
from app.settings import Settings

# A name such as `phone` stands for the same uuid on every machine.
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "urn:switchboard:device")

_DEVICE_TYPE = "unknown"

BEGINNING: Final = "start"
Place = Literal["start"] | Start
"""Where to begin; for `start` the server is asked for the offset of the oldest message."""


@dataclass(frozen=True, slots=True)
class Options:
    """The arguments and options of the command."""

    handle: str | None
    device: str
    device_uuid: str | None
    url: str | None
    token_file: Path | None
    password_stdin: bool
    instance: str
    ca: Path | None
    count: int | None
    timeout: float | None
    form: Form
    start: Place
    ack: bool
    store: Kept
    verbose: bool

    @property
    def uuid(self) -> str:
        """The device's uuid: the one given, or the one that its name always has."""
        return self.device_uuid or str(uuid.uuid5(_NAMES, self.device))


class _Place(click.ParamType[Place]):
    """A Place: a word, or an offset."""

    name = "place"

    def convert(self, value: Any, _: object, __: object) -> Any:
        """Return the word or the number."""
        if not isinstance(value, str) or value in (PLAIN, "live", "cursor", BEGINNING):
            return value
        if value.isascii() and value.isdigit() and int(value[:20]) <= MAX_OFFSET:
            return int(value)
        return self.fail("give plain, live, cursor, start, or the number of an offset.")


@click.command()
@click.argument("handle", required=False)
@click.option(
    "--device",
    metavar="NAME",
    default="listen",
    show_default=True,
    help="Be the device that this name stands for, the same one each time.",
)
@click.option("--device-uuid", metavar="UUID", help="Be the device of this uuid instead.")
@click.option("--url", metavar="URL", help="A server elsewhere; without it, the data folder's.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"Present the token in this file, and a newer one in it when that has ended; without a "
    f"HANDLE, {TOKEN_VARIABLE} is one too.",
)
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from the first line of stdin."
)
@click.option(
    "--instance",
    metavar="NAME",
    default="default",
    show_default=True,
    help="Which of the device's tabs or processes this is.",
)
@click.option(
    "--insecure-ca",
    "ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust this certificate or authority (PEM), and no other.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="End after S seconds; with --count, that is a failure.",
)
@click.option(
    "--from",
    "start",
    type=_Place(),
    metavar="PLACE",
    default=PLAIN,
    show_default=True,
    help="Miss nothing from live, cursor, start or an OFFSET on; plain: be a simple client.",
)
@click.option(
    "--ack", is_flag=True, help="Acknowledge what was printed: --from cursor goes on from there."
)
@click.option(
    "--store",
    type=click.Choice(get_args(Kept)),
    default="none",
    show_default=True,
    help="Keep typed lines for devices that are away (log), or not.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show connected, position and goaway, too.")
@click.option("--raw", "form", flag_value="raw", help="Print the frames as they came.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object a line.")
@data_dir_option
def listen(data_dir: str | None, **given: Any) -> None:
    """Be a device: print what arrives, send what is typed.

    A typed line goes to the user's other devices as a `note.text`; a line that begins
    with { is a message of yours, a JSON object with a `type`, and goes as it is; a space before it
    makes it text. Ctrl-C ends it.

    With --from it comes back with its position, so that it misses nothing while it is away. It
    begins at `live` with what comes from now on, after the `latest` values; at `cursor` with what
    its device has not acknowledged; at `start` with the oldest message that is kept; at a number
    with what is above that offset.

    Without --url it is a device of HANDLE on the server that runs on this data folder, without a
    password. With --url it signs in by password or presents a token.

    \b
    Examples:
      python -m app listen alice --device phone
      python -m app listen alice --device phone --from cursor --ack
      python -m app listen alice --url https://chat.example.org --device laptop
      python -m app listen --url https://chat.example.org --token-file token.txt --json
    """
    given["form"] = given["form"] or "text"
    options = Options(**given)
    if options.ack and options.start == PLAIN:
        raise click.UsageError("--ack goes with --from.")
    settings = settings_from({"data_dir": data_dir})
    try:
        run(_listen(options, settings))
    except KeyboardInterrupt:
        click.echo("", err=True)


async def _listen(options: Options, settings: Settings) -> None:
    if options.url is not None:
        await _listen_elsewhere(options, _base(options.url))
    else:
        await _listen_here(options, settings)


async def _listen_elsewhere(options: Options, url: str) -> None:
    tls = trust(options.ca) if options.ca else None
    token = _given_token(options)
    if token is not None:
        return await _run(options, Access(url, token, tls, partial(_newer_token, options)))
    if options.handle is None:
        raise click.UsageError("Give a HANDLE to sign in with, or a --token-file.")
    for what, text in (("HANDLE", options.handle), ("--device", options.device)):
        if not _is_utf8(text):
            raise click.UsageError(f"{what} is not UTF-8.")
    password = password_from(options.password_stdin, confirm=False)
    credentials = Credentials(options.handle, password, options.uuid, _DEVICE_TYPE, options.device)
    token = await sign_in(url, tls, credentials)
    try:
        await _run(options, Access(url, token, tls))
    finally:
        await sign_out(url, tls, token)


async def _listen_here(options: Options, settings: Settings) -> None:
    server = await perform(settings, STATUS, NoArguments())
    url = _reachable(server.url)
    tls = trust(options.ca) if options.ca else None
    if tls is None and server.certificate is not None:
        tls = trust(server.certificate, this_host=True)
    token = _given_token(options)
    if token is not None:
        return await _run(options, Access(url, token, tls, partial(_newer_token, options)))
    if options.handle is None:
        raise click.UsageError("Give the HANDLE of the user whose device this is.")
    issued = await perform(settings, tokens.ISSUE, _new_token(options, options.handle))
    oldest = 0
    if options.start == BEGINNING:
        found = await perform(settings, stream.INFO, WhichStream(user=f"id={issued.user_id}"))
        oldest = found.user.floor if found.user else 0
    try:
        await _run(options, Access(url, issued.token, tls), oldest)
    finally:
        await sign_out(url, tls, issued.token)


async def _run(options: Options, access: Access, oldest: int = 0) -> None:
    """Listen; `oldest` is the offset above which the user's whole stream is kept, if known."""
    keyboard = Keyboard()
    keyboard.start()
    listening = Listening(
        access,
        options.instance,
        start=oldest if options.start == BEGINNING else options.start,
        acknowledge=options.ack,
        kept=options.store,
    )
    printer = MessagePrinter(options.form, verbose=options.verbose)
    listener = Listener(listening, keyboard.line, printer, count=options.count)
    try:
        async with asyncio.timeout(options.timeout):
            await listener.run()
    except TimeoutError:
        if options.count is not None:
            raise Failure(f"After {options.timeout:g} s, {listener.left} did not arrive.") from None


def _new_token(options: Options, handle: str) -> NewToken:
    return NewToken(
        user=handle,
        device_uuid=options.uuid,
        device_type=_DEVICE_TYPE,
        device_name=options.device,
        label="listen",
    )


def _given_token(options: Options) -> str | None:
    if options.token_file is not None:
        token = options.token_file.read_text(encoding="utf-8-sig", errors="replace").strip()
    else:
        token = os.environ.get(TOKEN_VARIABLE, "").strip() if options.handle is None else ""
    return token or None


def _newer_token(options: Options) -> str | None:
    """Return what the token file holds by now; None without a file, or if it is gone."""
    try:
        return _given_token(options) if options.token_file is not None else None
    except OSError:
        return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base(url: str) -> str:
    """Return the server's address as http or https, without the path of the socket."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https") or not parts.netloc:
        raise click.UsageError("--url is an address such as https://chat.example.org.")
    path = parts.path.rstrip("/").removesuffix("/v1/ws")
    return f"{scheme}://{parts.netloc}{path}"


def _reachable(url: str) -> str:
    """Return the server's address with the loopback one in place of `all addresses`."""
    return url.replace("://0.0.0.0:", "://127.0.0.1:").replace("://[::]:", "://[::1]:")
