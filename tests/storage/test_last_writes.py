"""What a stop writes last, and the one line about what the disk did not take."""

import logging

import pytest

from app.base.errors import StorageUnavailable
from app.storage.faults import Faults
from app.storage.last_writes import LastWrites


async def succeed() -> None:
    return None


async def fail(error: Exception) -> None:
    raise error


def lines(caplog: pytest.LogCaptureFixture) -> list[object]:
    assert {record.getMessage() for record in caplog.records} <= {"not written at the stop"}
    return [vars(record)["fields"] for record in caplog.records]


async def test_a_stop_that_writes_everything_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    last = LastWrites(Faults())
    await last.attempt("cursors", succeed())
    last.tell()
    assert not lines(caplog)


async def test_each_write_is_tried_and_one_line_names_those_that_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    last = LastWrites(Faults())
    await last.attempt("cursors", fail(OSError(28, "No space left on device")))
    await last.attempt("trusted time", succeed())
    await last.attempt("the mark of a clean stop", fail(OSError(28, "No space left on device")))
    last.tell()
    assert lines(caplog) == [
        {"what": "cursors, the mark of a clean stop", "reason": "the system refused to write"}
    ]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (StorageUnavailable("The file a.db is gone."), "The file a.db is gone."),
        (StorageUnavailable(), str(StorageUnavailable())),
    ],
)
async def test_the_line_says_why(
    caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    last = LastWrites(Faults())
    await last.attempt("cursors", fail(error))
    last.tell()
    assert lines(caplog) == [{"what": "cursors", "reason": reason}]


async def test_the_cause_is_named_where_the_storage_knows_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = Faults()
    last = LastWrites(faults)

    async def write() -> None:
        with faults.as_unavailable():
            raise OSError(30, "Read-only file system")

    await last.attempt("cursors", write())
    caplog.clear()
    last.tell()
    assert lines(caplog) == [{"what": "cursors", "reason": "the system refused to write"}]


async def test_what_is_no_fault_of_the_disk_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        await LastWrites(Faults()).attempt("cursors", fail(KeyError("a bug")))
