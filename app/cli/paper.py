"""What `listen` prints: a line for each message, and what happens beside them."""

from datetime import datetime
from typing import Any, Literal

import click
import orjson

Form = Literal["text", "json", "raw"]


class Paper:
    """Prints messages on standard output, each at once, and the rest on standard error.

    Frames that are no messages are printed only when it is `verbose`.
    """

    def __init__(self, form: Form, *, verbose: bool = False) -> None:
        self._form = form
        self._verbose = verbose

    def message(self, text: str, message: dict[str, Any]) -> None:
        """Print a message in the chosen form."""
        now = datetime.now().astimezone()
        if self._form == "raw":
            click.echo(text)
        elif self._form == "json":
            record = {"time": now.isoformat(timespec="milliseconds"), **message}
            click.echo(orjson.dumps(record).decode())
        else:
            click.echo(f"{now:%H:%M:%S}  {_line(message)}")

    def frame(self, text: str, message: dict[str, Any]) -> None:
        """Print a frame of the server's own, in the place for the chosen form."""
        if not self._verbose:
            return
        if self._form == "text":
            self.state(_line(message))
        else:
            self.message(text, message)

    def state(self, sentence: str) -> None:
        """Print a change of state."""
        click.echo(sentence, err=True)


def _line(message: dict[str, Any]) -> str:
    source = message.get("from")
    sender = f"  from {source['device_id']}/{source['instance']}" if source else ""
    payload = orjson.dumps(message.get("payload")).decode()
    return f"{_mark(message)}{message['type']}{sender}  {printable(payload)}"


def _mark(message: dict[str, Any]) -> str:
    """Return the number of a durable message, and whether it is state from before."""
    if "offset" not in message:
        return ""
    return f"[{message['offset']}{' snapshot' if message.get('snapshot') else ''}]  "


def printable(text: str) -> str:
    """Return the JSON text without what could write escape sequences to a terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
