"""Logs: one line for each record, for people on a terminal, as JSON otherwise.

A record gets its fields by `extra=fields(user=1, device=2)`. Values are numbers and short words of
ours; text that came from a peer goes through `app.base.foreign` first.
"""

import copy
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TextIO

import orjson

from app.base.log_writer import LogWriter
from app.base.storms import Storms

_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_RESET: Final = "\x1b[0m"

REPEAT_SECONDS: Final = 1.0
"""A warning or an error of one kind is written once in this time: some come with every message."""

KIND_LENGTH: Final = 64
"""Characters of a message that make its kind: those after them may be values."""

MAX_KINDS: Final = 1000
"""Kinds in memory; ours are some thirty."""

FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for the reader of the log."""

log = logging.getLogger(__name__)

_Kind = tuple[str, str, type[BaseException] | None]


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """Return the `extra` of a log call; values that are None are left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


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
        pairs = "".join(f" {name}={_quoted(value)}" for name, value in _fields_of(record).items())
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


class Repeats:
    """Lets a warning or an error of one kind through once in `REPEAT_SECONDS`, and counts the rest.

    A kind is a logger, the beginning of a message before its values are in it, and the type of the
    exception if there is one. All threads may call.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[_Kind, _Kept] = {}
        self.suppressed = 0
        """Records that were not let through."""

    def admit(self, record: logging.LogRecord) -> bool:
        """Return whether the record is let through; `due` tells of those that are not."""
        kind = _kind_of(record)
        with self._lock:
            kept = self._kinds.get(kind)
            if kept is not None and (kept.count or self._clock() < kept.until):
                kept.newest = _bare(record)
                kept.count += 1
                self.suppressed += 1
                return False
            if kept is None and len(self._kinds) >= MAX_KINDS:
                # A library that puts values into its messages makes each of them a kind.
                del self._kinds[next(iter(self._kinds))]
            self._kinds[kind] = _Kept(self._clock() + REPEAT_SECONDS)
            return True

    def due(self, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """Return the newest record of each kind that was held back, with the count, if it is time.

        The records have no traceback.
        """
        found = []
        with self._lock:
            now = self._clock()
            for kind, kept in list(self._kinds.items()):
                if kept.until > now and not all_of_them:
                    continue
                if kept.newest is None:
                    del self._kinds[kind]
                    continue
                kept.newest.fields = {**_fields_of(kept.newest), "suppressed": kept.count}
                found.append(kept.newest)
                self._kinds[kind] = _Kept(now + REPEAT_SECONDS)
        return found

    def seconds_left(self) -> float | None:
        """Return in how many seconds `due` may have something; None while there is no kind."""
        with self._lock:
            if not self._kinds:
                return None
            return max(0.0, min(kept.until for kept in self._kinds.values()) - self._clock())


@dataclass(slots=True)
class _Kept:
    """What is held back of a kind until this time: how many records, and the newest of them."""

    until: float
    count: int = 0
    newest: logging.LogRecord | None = None


class Lines(logging.Handler):
    """Has a thread write each line, and says how many it had to leave out.

    A reader that stops, a full disk or a flood of errors loses lines and does not stop the server.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._repeats = Repeats(clock)
        self._storms = Storms(clock)
        self._writer = LogWriter(stream, notice=self._notice, due=self._due)

    @property
    def dropped(self) -> int:
        """Lines that nobody can read: too many waited, or the stream did not take them."""
        return self._writer.dropped

    @property
    def suppressed(self) -> int:
        """Lines left out: warnings and errors of a kind that was in the same second, and what one
        user or address caused too often."""
        return self._repeats.suppressed + self._storms.suppressed

    def emit(self, record: logging.LogRecord) -> None:
        """Have the record's line written; nothing that happens here is the caller's concern."""
        bounds = self._repeats if record.levelno >= logging.WARNING else self._storms
        if not bounds.admit(record):
            return
        self._writer.put(self._line(record))

    def flush(self) -> None:
        """Wait until all is written, `FLUSH_SECONDS` at most."""
        self._writer.flush(FLUSH_SECONDS)

    def close(self) -> None:
        """Write what waits and what was held back, within `FLUSH_SECONDS`; take no more."""
        for bounds in (self._storms, self._repeats):
            for record in bounds.due(all_of_them=True):
                self._writer.put(self._line(record))
        self._writer.close(FLUSH_SECONDS)
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 - a caller must not fail because it logs
            about = fields(reason=type(error).__name__, of=record.name)
            return self.format(made_record(logging.ERROR, "log line not formatted", about))

    def _notice(self, lines: int) -> str:
        return self.format(made_record(logging.WARNING, "log lines dropped", fields(count=lines)))

    def _due(self) -> tuple[list[str], float | None]:
        lines, waits = [], []
        for bounds in (self._storms, self._repeats):
            lines += [self._line(record) for record in bounds.due()]
            waits.append(bounds.seconds_left())
        return lines, min((wait for wait in waits if wait is not None), default=None)


def set_up(level: str, form: str, stream: TextIO | None = None) -> Lines:
    """Log everything to the stream (stderr) in one form: `text`, `json` or `auto`.

    `auto` is text on a terminal and JSON otherwise. Returns what writes the lines.
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
    return handler


def log_stray_errors() -> None:
    """Log what Python prints to stderr: warnings, and errors that no caller can be told of.

    Printing waits for the reader of stderr, on whatever thread it happens.
    """
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_end_of_thread


def lines_lost() -> tuple[int, int]:
    """Return how many lines were dropped, and how many were held back as repeats."""
    found = [one for one in logging.getLogger().handlers if isinstance(one, Lines)]
    return sum(one.dropped for one in found), sum(one.suppressed for one in found)


def _quoted(value: object) -> str:
    """Return the text of a value, in quotes if it could be taken for more than one field."""
    text = str(value)
    # The browser of a stranger must not write `user=1` into its line.
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text else text


@lru_cache(maxsize=4)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _log_unraisable(what: "sys.UnraisableHookArgs") -> None:
    error = what.exc_value or what.exc_type()
    log.error("exception ignored", exc_info=error, extra=fields(by=type(what.object).__name__))


def _log_end_of_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is not SystemExit:
        error = what.exc_value or what.exc_type()
        log.error(
            "thread died", exc_info=error, extra=fields(thread=what.thread and what.thread.name)
        )


def _kind_of(record: logging.LogRecord) -> _Kind:
    beginning = str(record.msg).partition("\n")[0][:KIND_LENGTH]
    return (record.name, beginning, record.exc_info[0] if record.exc_info else None)


def _bare(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record without its traceback, whose frames would be kept alive."""
    record = copy.copy(record)
    record.exc_info = record.exc_text = None
    return record


def made_record(level: int, message: str, about: Mapping[str, Any]) -> logging.LogRecord:
    """Return a record of this module's own."""
    now = time.time()
    made = {"name": __name__, "levelno": level, "levelname": logging.getLevelName(level)}
    when = {"created": now, "msecs": int(now % 1 * 1000)}
    return logging.makeLogRecord({**made, **when, "msg": message, **about})


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, "fields", {})
    return found
