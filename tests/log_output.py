"""What the server logs, as it is written."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.base.logs import set_up


class Output:
    """What is logged as JSON."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        self._handler = set_up("info", "json", self._stream)

    @property
    def lines(self) -> list[dict[str, Any]]:
        self._handler.flush()
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def close(self) -> None:
        self._handler.close()


@contextmanager
def logging_to_memory() -> Iterator[Output]:
    """Have what is logged as JSON; the former way of logging comes back."""
    root = logging.getLogger()
    handlers, level, factory = root.handlers, root.level, logging.getLogRecordFactory()
    output = Output()
    yield output
    output.close()
    root.handlers = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)
