"""Log lines, whatever is in them."""

import logging
from collections.abc import Iterator

import pytest
from log_output import Output, logging_to_memory

from app.base.logs import (
    MAX_KINDS,
    REPEAT_SECONDS,
    Repeats,
    TextFormatter,
    fields,
    made_record,
)


@pytest.fixture
def output() -> Iterator[Output]:
    with logging_to_memory() as output:
        yield output


def test_a_line_has_its_fields(output: Output) -> None:
    logging.getLogger("app.x").info("said", extra=fields(user=7))
    [line] = output.lines
    assert (line["message"], line["user"]) == ("said", 7)


def test_half_of_a_surrogate_pair_loses_no_line(output: Output) -> None:
    try:
        raise KeyError("\ud800")
    except KeyError:
        logging.getLogger("app.x").exception("failed", extra=fields(connection="c-1"))
    [line] = output.lines
    assert (line["message"], line["connection"]) == ("failed", "c-1")
    assert "KeyError" in line["exception"]


class Unprintable:
    """A value that has no text."""

    def __str__(self) -> str:
        raise KeyError


def test_a_line_that_cannot_be_formatted_is_one_that_says_so(output: Output) -> None:
    logging.getLogger("app.x").info("said", extra=fields(value=Unprintable()))
    [line] = output.lines
    assert (line["message"], line["of"]) == ("log line not formatted", "app.x")


class Broken(Exception):
    """What goes wrong in these tests."""


def test_of_many_errors_of_one_kind_one_is_written_at_once_and_one_with_the_count() -> None:
    now = 100.0
    repeats = Repeats(lambda: now)
    records = [_record("failed", Broken()) for _ in range(50)]
    assert [repeats.admit(record) for record in records] == [True] + [False] * 49
    assert repeats.due() == []
    assert repeats.seconds_left() == REPEAT_SECONDS
    now += REPEAT_SECONDS
    [told] = repeats.due()
    assert told.getMessage() == "failed"
    assert told.exc_info is None
    assert vars(told)["fields"] == {"user": 7, "suppressed": 49}
    # That line is the one of this second.
    assert not repeats.admit(_record("failed", Broken()))
    now += REPEAT_SECONDS
    assert [vars(one)["fields"]["suppressed"] for one in repeats.due()] == [1]
    now += REPEAT_SECONDS
    assert repeats.due() == []
    assert repeats.seconds_left() is None
    assert repeats.admit(_record("failed", Broken()))
    assert repeats.suppressed == 50


def test_another_logger_message_or_exception_is_another_kind() -> None:
    repeats = Repeats(lambda: 100.0)
    assert repeats.admit(_record("failed", Broken()))
    assert repeats.admit(_record("failed", KeyError()))
    assert repeats.admit(_record("failed"))
    assert repeats.admit(_record("failed otherwise"))
    assert repeats.admit(_record("failed", name="app.y"))
    assert not repeats.admit(_record("failed", name="app.y"))


def test_endlessly_many_kinds_are_not_kept() -> None:
    repeats = Repeats(lambda: 100.0)
    for number in range(MAX_KINDS + 1):
        assert repeats.admit(_record(f"failed {number}"))
    assert repeats.admit(_record("failed 0"))
    assert not repeats.admit(_record(f"failed {MAX_KINDS}"))


def test_what_was_held_back_is_told_at_the_end(output: Output) -> None:
    for _ in range(3):
        logging.getLogger("app.x").warning("full", extra=fields(reason="disk"))
        logging.getLogger("app.x").info("said")
    output.close()
    lines = [(line["message"], line.get("suppressed")) for line in output.lines]
    assert lines == [("full", None), *[("said", None)] * 3, ("full", 2)]


def _record(message: str, error: Exception | None = None, name: str = "app.x") -> logging.LogRecord:
    about = (type(error), error, None) if error else None
    record = logging.LogRecord(name, logging.ERROR, "", 0, message, (), about)
    vars(record)["fields"] = {"user": 7}
    return record


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain/1.0", "plain/1.0"),
        (12, "12"),
        ("two words user=7", '"two words user=7"'),
        ('x" user=7', r'"x\" user=7"'),
        ('"', r'"\""'),
        ("Ä b", '"Ä b"'),
    ],
)
def test_on_a_terminal_no_value_can_be_taken_for_two_fields(value: object, shown: str) -> None:
    record = made_record(logging.INFO, "connected", fields(agent=value))
    line = TextFormatter(colour=False).format(record)
    assert line.endswith(f"connected agent={shown}")
