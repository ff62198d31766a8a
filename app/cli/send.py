"""`send`: a message from the operator or the application's backend."""

from typing import Any, get_args

import click
import orjson

from app.cli.input import whole_input
from app.cli.output import print_json
from app.cli.running import ROW_NUMBER, output_options, perform
from app.control import send as control
from app.control.send import NewMessage, SendResult
from app.protocol.keep import MAX_TTL_SECONDS, Store, read_keep
from app.protocol.messages import MessageError, decode


@click.command()
@click.argument("type_", metavar="TYPE")
@click.argument("payload", metavar="[PAYLOAD_JSON]", default="null")
@click.option("--device", type=ROW_NUMBER, metavar="ID", help="To this device.")
@click.option(
    "--others-of",
    type=ROW_NUMBER,
    metavar="ID",
    help="To the other devices of this device's user.",
)
@click.option("--user", metavar="USER", help="To all devices of a user: a handle or id=NUMBER.")
@click.option("--everyone", is_flag=True, help="To everybody.")
@click.option(
    "--store",
    type=click.Choice(get_args(Store)),
    show_default="none",
    help="Keep it for devices that are away (log), or only the newest of its --key (latest).",
)
@click.option("--key", metavar="KEY", help="Which value this is the newest of, with latest.")
@click.option("--delete", is_flag=True, help="Delete the latest value of this TYPE and --key.")
@click.option(
    "--ttl",
    type=click.IntRange(1, MAX_TTL_SECONDS),
    metavar="SECONDS",
    help="Keep it no longer than this.",
)
@click.option(
    "--message-id", metavar="ID", help="Sending it again with this id changes nothing any more."
)
@output_options
def send(
    type_: str,
    payload: str,
    device: int | None,
    others_of: int | None,
    user: str | None,
    everyone: bool,
    store: Store | None,
    key: str | None,
    delete: bool,
    ttl: int | None,
    message_id: str | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Send a message.

    It reaches those who are connected now, and with --store also those who come back later.

    TYPE is such as note.text; PAYLOAD_JSON may be - for stdin, and is null without.

    \b
    Examples:
      python -m app send note.text '{"text": "Dinner!"}' --user alice
      python -m app send notification.shown '{"id": 7}' --others-of 3
      date +%s | python -m app send app.clock - --everyone
      python -m app send app.theme '"dark"' --user alice --store latest --key theme
      python -m app send app.theme --user alice --key theme --delete
    """
    where = _where(device, others_of, user, everyone)
    content = _payload(payload)
    options = {"store": store, "key": key, "ttl": ttl, "message_id": message_id}
    keep = _keep(options | {"delete": delete or None, "payload": content})
    message = NewMessage(type=type_, payload=content, **where, **keep)
    result = perform(data_dir, control.SEND, message)
    if as_json:
        print_json(result)
    else:
        click.echo(_sentence(result, deletion=delete))


def _where(
    device: int | None, others_of: int | None, user: str | None, everyone: bool
) -> dict[str, Any]:
    ways: list[dict[str, Any]] = []
    if device is not None:
        ways.append({"where": "device", "device_id": device})
    if others_of is not None:
        ways.append({"where": "others", "device_id": others_of})
    if user is not None:
        ways.append({"where": "user", "user": user})
    if everyone:
        ways.append({"where": "everyone"})
    if len(ways) != 1:
        raise click.UsageError("Give one of --device, --others-of, --user and --everyone.")
    return ways[0]


def _keep(fields: dict[str, Any]) -> dict[str, Any]:
    try:
        read_keep(fields)
    except ValueError as fault:
        raise click.UsageError(f"{fault}.") from None
    return {name: value for name, value in fields.items() if name != "payload"}


def _payload(argument: str) -> Any:
    try:
        text = whole_input() if argument == "-" else argument
        payload = orjson.loads(text)
        # Refuses what a receiver would read as another value, such as integers above 64 bits.
        decode(f'{{"type":"payload","payload":{text}}}')
    except (UnicodeDecodeError, orjson.JSONDecodeError, MessageError) as error:
        reason = _reason(error)
        raise click.BadParameter(f"{reason}.", param_hint="PAYLOAD_JSON") from None
    return payload


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return "it is not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error)


def _sentence(result: SendResult, *, deletion: bool) -> str:
    taken = ", ".join(map(str, result.delivered)) or "no device"
    failed = ", ".join(map(str, result.failed))
    now = f"delivered to {taken}" + (f"; {failed} could not take it" if failed else "")
    if result.offset is None:
        return f"D{now[1:]}."
    if result.duplicate:
        return f"Kept at {result.offset} before: this repeats a message_id, nothing was sent."
    return f"{'Deleted' if deletion else 'Kept'} at {result.offset}; {now}."
