"""Log lines, whatever is in them."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from app.base.logs import fields, set_up


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged as JSON; the former way of logging comes back."""
    root = logging.getLogger()
    handlers, level, factory = root.handlers, root.level, logging.getLogRecordFactory()
    stream = io.StringIO()
    set_up("info", "json", stream)
    yield stream
    root.handlers = handlers
    root.setLevel(level)
    logging.setLogRecordFactory(factory)


def test_a_line_has_its_fields(stream: io.StringIO) -> None:
    logging.getLogger("app.x").info("said", extra=fields(user=7))
    line = json.loads(stream.getvalue())
    assert (line["message"], line["user"]) == ("said", 7)


def test_half_of_a_surrogate_pair_loses_no_line(stream: io.StringIO) -> None:
    try:
        raise KeyError("\ud800")
    except KeyError:
        logging.getLogger("app.x").exception("failed", extra=fields(connection="c-1"))
    line = json.loads(stream.getvalue())
    assert (line["message"], line["connection"]) == ("failed", "c-1")
    assert "KeyError" in line["exception"]
