"""Logs: one line for each record, for people on a terminal, as JSON otherwise.

A record gets its fields by `extra=fields(user=1, device=2)`. Values are numbers and short words of
ours; text that came from a peer goes through `clean` first.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TextIO

import orjson

_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_RESET: Final = "\x1b[0m"


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Return the `extra` of a log call; values that are None are left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


def clean(text: str, length: int = 64) -> str:
    """Return text that came from a peer, cut to `length` and without control characters."""
    return "".join(char if char.isprintable() else "?" for char in text[:length])


class TextFormatter(logging.Formatter):
    """Formats a record as `12:00:00.123 INFO    connected user=1 device=2`."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock}.{int(record.msecs):03d} {record.levelname:<7}"
        if self._colour and record.levelname in _COLOURS:
            head = f"{_COLOURS[record.levelname]}{head}{_RESET}"
        pairs = "".join(f" {name}={value}" for name, value in _fields_of(record).items())
        line = f"{head} {record.getMessage()}{pairs}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object on one line, with `time` in UTC (RFC 3339)."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback in the key `exception`."""
        entry: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(entry, default=str).decode()
        except TypeError:
            # A text with half of a surrogate pair, as an exception may have; this escapes it.
            return json.dumps(entry, default=str)


class Record(logging.LogRecord):
    """A record without what our lines do not show, such as file and thread: half the cost."""

    def __init__(
        self,
        name: str,
        level: int,
        pathname: str,
        lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        sinfo: str | None = None,
        **_: object,
    ) -> None:
        created = time.time()
        self.name = name
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.msg = msg
        # As logging does, for messages in the form "%(name)s".
        self.args = (
            args[0]
            if args and len(args) == 1 and args[0] and isinstance(args[0], Mapping)
            else args
        )
        self.exc_info = exc_info
        self.exc_text = None
        self.stack_info = sinfo
        self.pathname = self.filename = self.module = pathname
        self.lineno = lineno
        self.funcName = func or ""
        self.created = created
        self.msecs = int((created - int(created)) * 1000)
        self.relativeCreated = 0
        self.thread = self.threadName = self.process = self.processName = None


class Lines(logging.StreamHandler[TextIO]):
    """Writes each line in one call; a full disk loses lines and does not stop the server."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line."""
        try:
            self.stream.write(self.format(record) + "\n")
            self.stream.flush()
        except Exception:  # noqa: BLE001 - a caller must not fail because it logs
            self.handleError(record)


def set_up(level: str, form: str, stream: TextIO | None = None) -> None:
    """Log everything to the stream (stderr) in one form: `text`, `json` or `auto`.

    `auto` is text on a terminal and JSON otherwise.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    handler = Lines(stream)
    if form == "text" or (form == "auto" and terminal):
        handler.setFormatter(TextFormatter(colour=terminal))
    else:
        handler.setFormatter(JsonFormatter())
    # Callers are not looked up, since our lines do not show them (logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.setLogRecordFactory(Record)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("app").setLevel(level.upper())
    for noisy in ("sqlalchemy.engine", "aiosqlite", "alembic", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@lru_cache(maxsize=4)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, "fields", {})
    return found
