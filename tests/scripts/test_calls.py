"""How scripts/chaos trace reads the lines of strace."""

from pathlib import Path

import pytest

from scripts.faults.calls import Calls, read_calls

PAGE = '"\\0\\1{\\"message\\":\\"3.1\\",\\"size\\""'
WRITE = f"10 pwrite64(9</d/switchboard.db-wal>, {PAGE}, 4096, 0) = 4096"
SYNC = "10 fdatasync(9</d/switchboard.db-wal>) = 0"
SYNC_BEGINS = "10 fdatasync(9</d/switchboard.db-wal> <unfinished ...>"
SYNC_ENDS = "10 <... fdatasync resumed>) = 0"
ANSWER = '7 write(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\\201~{\\"reply_to\\":\\"3.1\\"}", 20) = 20'
ANSWER_BEGINS = ANSWER.rpartition(")")[0] + " <unfinished ...>"
ANSWER_ENDS = "7 <... write resumed>) = 20"
OTHER = '7 write(5</d/log>, "{\\"reply_to\\":\\"3.1\\"}", 9) = 9'


def calls(folder: Path, *lines: str) -> Calls:
    path = folder / "calls"
    path.write_text("".join(f"{line}\n" for line in lines))
    return read_calls(path)


@pytest.mark.parametrize(
    "lines",
    [
        [WRITE, SYNC, ANSWER],
        [WRITE, SYNC_BEGINS, OTHER, SYNC_ENDS, ANSWER],
        [WRITE, SYNC, WRITE, ANSWER, SYNC],
        [WRITE, SYNC, ANSWER_BEGINS, WRITE, ANSWER_ENDS],
    ],
    ids=["plain", "a sync in two lines", "its page written again", "an answer in two lines"],
)
def test_an_answer_after_its_sync_is_good(tmp_path: Path, lines: list[str]) -> None:
    seen = calls(tmp_path, *lines)
    assert (seen.answers, seen.early) == ({"3.1"}, [])


@pytest.mark.parametrize(
    "lines",
    [
        [ANSWER, WRITE, SYNC],
        [WRITE, ANSWER, SYNC],
        [WRITE, SYNC_BEGINS, ANSWER, SYNC_ENDS],
        [WRITE, SYNC_BEGINS, ANSWER_BEGINS, SYNC_ENDS, ANSWER_ENDS],
        [SYNC_BEGINS, WRITE.replace("10 ", "11 ", 1), SYNC_ENDS, ANSWER],
        [WRITE, SYNC.replace("-wal", ""), ANSWER],
        [WRITE, ANSWER],
    ],
    ids=[
        "before it is written",
        "before the sync",
        "during the sync",
        "begun during the sync",
        "the sync began before the write",
        "another file was synced",
        "no sync at all",
    ],
)
def test_an_answer_before_its_sync_is_early(tmp_path: Path, lines: list[str]) -> None:
    assert calls(tmp_path, *lines).early == ["3.1"]


def test_syncs_and_what_they_cover_are_counted(tmp_path: Path) -> None:
    seen = calls(tmp_path, WRITE, WRITE.replace("3.1", "3.2"), SYNC, SYNC, ANSWER)
    assert (seen.syncs, seen.syncs_with_messages, seen.synced) == (2, 1, {"3.1", "3.2"})
