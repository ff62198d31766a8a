"""The checker of scripts/chaos finds each kind of fault, and none where there is none."""

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.faults.checker import check, show
from scripts.faults.journal import (
    Acknowledged,
    Connected,
    Finished,
    Joined,
    Journal,
    Left,
    Positioned,
    Received,
    Record,
    Refused,
    Repeated,
    Returned,
    Sent,
    Vanished,
    read,
)

ROOT = Path(__file__).parents[2]
PHONE, LAPTOP, TAB, STRANGER = range(4)
PEERS = [
    Joined(PHONE, 1, 11, "main"),
    Joined(LAPTOP, 1, 12, "main"),
    Joined(TAB, 1, 12, "tab"),
    Joined(STRANGER, 2, 21, "main"),
]


def began() -> list[Record]:
    """Everybody, at position 0."""
    return [
        *PEERS,
        *(
            record
            for by in range(4)
            for record in (Connected(by, None, "live", "e", 0), Positioned(by, "e", 0))
        ),
    ]


def ended() -> list[Record]:
    return [Finished(by) for by in range(4)]


def got(by: int, message: str, offset: int, device: int = 11, instance: str = "main") -> Received:
    return Received(by, message, offset, device, instance, True)


def stored(message: str, offset: int, by: int = PHONE) -> Acknowledged:
    return Acknowledged(by, message, "e", offset, False)


# The phone sends `a` to all of its user and `b` to the others; the laptop sends `c` to the phone.
STORY: dict[str, Record] = {
    "send a": Sent(PHONE, "a", "user"),
    "phone has a": got(PHONE, "a", 3),
    "laptop has a": got(LAPTOP, "a", 3),
    "tab has a": got(TAB, "a", 3),
    "a is kept": stored("a", 3),
    "send b": Sent(PHONE, "b", "others"),
    "b is kept": stored("b", 5),
    "laptop has b": got(LAPTOP, "b", 5),
    "laptop leaves": Left(LAPTOP, 1006),
    "laptop is back": Connected(LAPTOP, 5, "resumed", "e", 5),
    "laptop is live": Positioned(LAPTOP, "e", 5),
    "tab has b": got(TAB, "b", 5),
    "send c": Sent(LAPTOP, "c", 11),
    "c is kept": stored("c", 8, LAPTOP),
    "phone has c": got(PHONE, "c", 8, 12),
}


def story(*without: str, **changed: Record) -> list[Record]:
    told = {name: record for name, record in STORY.items() if name not in without}
    assert len(told) == len(STORY) - len(without)
    told |= {name.replace("_", " "): record for name, record in changed.items()}
    return [*began(), *told.values(), *ended()]


def kinds(records: Iterable[Record], expect: int | None = None) -> set[str]:
    return {fault.kind for fault in check(records, expect).faults}


def test_a_good_story_has_no_fault_and_is_counted() -> None:
    verdict = check(story(), expect=3)
    assert verdict.good, show(verdict)
    wanted = {"devices": 3, "instances": 4, "messages": 3, "acknowledged": 3, "received": 6}
    assert wanted.items() <= verdict.counts.items()


@pytest.mark.parametrize("missing", ["phone has a", "tab has a", "laptop has b", "phone has c"])
def test_an_acknowledged_message_that_one_lacks_is_lost(missing: str) -> None:
    assert kinds(story(missing)) == {"lost"}


def test_a_message_that_only_some_of_its_audience_have_is_lost_though_nobody_was_told() -> None:
    assert kinds(story("a is kept", "tab has a")) == {"lost"}


def test_an_unacknowledged_message_may_be_with_all_or_with_none() -> None:
    assert kinds(story("a is kept")) == set()
    assert kinds(story("a is kept", "phone has a", "laptop has a", "tab has a")) == set()


def test_what_lies_below_the_start_is_not_owed() -> None:
    late = [Joined(7, 1, 13, "main"), Connected(7, None, "live", "e", 3), Positioned(7, "e", 3)]
    assert kinds([*story(), *late, got(7, "b", 5), Finished(7)]) == set()
    assert kinds([*story(), *late, Finished(7)]) == {"lost"}


def test_who_starts_by_its_cursor_is_owed_everything_above_it() -> None:
    late = [Joined(7, 1, 13, "main"), Connected(7, None, "resumed", "e", 3), Positioned(7, "e", 8)]
    assert kinds([*story(), *late, Finished(7)]) == {"lost"}


@pytest.mark.parametrize(
    "more",
    [
        [got(TAB, "a", 9)],
        [Repeated(TAB, 3)],
        [Sent(PHONE, "a", "user"), stored("a", 3)],
    ],
    ids=["received again", "sent again by the server", "acknowledged anew"],
)
def test_a_message_that_comes_twice_is_doubled(more: list[Record]) -> None:
    assert "doubled" in kinds([*story(), *more])


def test_a_message_with_two_offsets_is_doubled() -> None:
    again = [Sent(PHONE, "a", "user"), Acknowledged(PHONE, "a", "e", 9, True)]
    assert kinds([*story(), *again]) == {"out of order"}
    assert "doubled" in kinds([*story(tab_has_a=got(TAB, "a", 4)), *again])


def test_a_recognised_repeat_is_fine() -> None:
    again = [Sent(PHONE, "a", "user"), Acknowledged(PHONE, "a", "e", 3, True)]
    verdict = check([*story(), *again])
    assert verdict.good
    assert (verdict.counts["sends"], verdict.counts["repeats recognised"]) == (4, 1)


def test_offsets_that_fall_are_out_of_order() -> None:
    assert "out of order" in kinds(
        [*began(), STORY["send a"], STORY["send b"], got(TAB, "b", 5), got(TAB, "a", 3), *ended()]
    )


def test_a_position_that_falls_is_out_of_order() -> None:
    assert kinds([*story(), Positioned(LAPTOP, "e", 4)]) == {"out of order"}


def test_an_offset_other_than_the_acknowledged_one_is_out_of_order() -> None:
    assert kinds(story(phone_has_c=got(PHONE, "c", 9, 12))) == {"out of order"}


def test_messages_of_one_writer_kept_in_the_reverse_of_their_order_are_out_of_order() -> None:
    records = [*began(), STORY["send b"], STORY["send a"], *story()[len(began()) :]]
    assert kinds(records) == {"out of order"}


def test_a_refused_message_may_be_kept_behind_later_ones() -> None:
    records = [*began(), STORY["send b"], Refused(PHONE, "b", "storage_unavailable")]
    assert kinds([*records, *story()[len(began()) :]]) == set()


@pytest.mark.parametrize(
    "more",
    [
        [got(STRANGER, "a", 3)],
        [got(LAPTOP, "c", 8, 12)],
        [got(PHONE, "b", 9)],
        [got(PHONE, "never sent", 9)],
    ],
    ids=["another user", "another device", "the sender that was left out", "never sent"],
)
def test_a_message_with_one_whom_it_was_not_for_is_foreign(more: list[Record]) -> None:
    assert "foreign" in kinds([*story(), *more])


def test_a_message_that_changed_or_names_another_sender_is_foreign() -> None:
    a = got(TAB, "a", 3)
    assert kinds(story(tab_has_a=replace(a, whole=False))) == {"foreign"}
    assert kinds(story(tab_has_a=replace(a, device=12))) == {"foreign"}


@pytest.mark.parametrize(
    "back",
    [
        Connected(LAPTOP, 5, "reset", "f", 5),
        Connected(LAPTOP, 5, "live", "e", 8),
        Connected(LAPTOP, 5, "resumed", "e", 6),
        Connected(LAPTOP, 5, "resumed", "f", 5),
    ],
    ids=["reset", "live", "elsewhere", "another epoch"],
)
def test_a_position_that_did_not_hold_is_a_reset(back: Connected) -> None:
    assert "reset" in kinds(story(laptop_is_back=back))


@pytest.mark.parametrize("message", ["b", ""], ids=["message", "ack"])
def test_an_error_for_what_had_no_fault_is_one(message: str) -> None:
    assert kinds([*story(), Refused(PHONE, message, "internal_error")]) == {"refused"}


# The laptop was away for long: the server has removed `b` and what came before it, not `d` and `e`.
REMOVED: dict[str, Record] = {
    "laptop is back": Connected(LAPTOP, 3, "reset", "e", 3, 9),
    "send d": Sent(PHONE, "d", 12),
    "d is kept": stored("d", 7),
    "send e": Sent(PHONE, "e", 12),
    "e is kept": stored("e", 9),
    "laptop has d": replace(got(LAPTOP, "d", 7), replayed=True),
    "laptop has e": replace(got(LAPTOP, "e", 9), replayed=True),
    "laptop is live": Positioned(LAPTOP, "e", 9),
}


def late(*without: str, removes: bool = True, **changed: Record) -> set[str]:
    """Return the kinds of faults of the story in which the laptop comes back late."""
    told = {name: one for name, one in STORY.items() if not name.startswith("laptop ")}
    told |= {"laptop has a": STORY["laptop has a"], **REMOVED}
    told |= {name.replace("_", " "): one for name, one in changed.items()}
    assert set(without) <= set(told)
    records = [*began(), *(one for name, one in told.items() if name not in without), *ended()]
    # The tab is the same device, and gets what is for it.
    tabs = [Received(TAB, name, offset, 11, "main", True) for name, offset in (("d", 7), ("e", 9))]
    return {fault.kind for fault in check([*records, *tabs], removes=removes).faults}


def test_what_was_removed_before_a_device_came_back_is_not_owed() -> None:
    assert late() == set()
    assert late("laptop has d") == set(), "the gap ends with the first that comes"


def test_what_is_above_the_first_message_after_a_reset_is_owed() -> None:
    assert late("laptop has e") == {"lost"}


def test_without_removing_a_reset_is_a_fault() -> None:
    assert "reset" in late(removes=False)


def test_a_reset_away_from_the_own_position_is_a_fault() -> None:
    assert "reset" in late(laptop_is_back=Connected(LAPTOP, 3, "reset", "e", 9, 9))
    assert "reset" in late(laptop_is_back=Connected(LAPTOP, 3, "reset", "e", 5, 9))


def test_a_replay_has_to_be_marked_and_nothing_else() -> None:
    assert late(laptop_has_e=got(LAPTOP, "e", 9)) == {"reset"}
    assert late(laptop_is_back=Connected(LAPTOP, 3, "reset", "e", 3, 8)) == {"reset"}


def test_another_generation_of_the_same_epoch_is_no_reset() -> None:
    again = {"laptop_is_back": Connected(LAPTOP, 5, "resumed", "e.2", 5)}
    assert kinds(story(**again, laptop_is_live=Positioned(LAPTOP, "e.2", 5))) == set()


def test_what_is_sent_and_acknowledged_while_the_database_is_gone_goes_into_nothing() -> None:
    told = [Vanished(1), Sent(PHONE, "a", "user"), stored("a", 1), Returned(2)]
    assert "into nothing" in kinds([*began(), *told])
    assert check([*began(), *told], wrecked=True).faults[0].kind == "into nothing"


def test_what_was_sent_before_or_is_acknowledged_after_it_may_be_kept() -> None:
    before = [Sent(PHONE, "a", "user"), Vanished(1), stored("a", 1)]
    after = [Sent(PHONE, "b", "user"), Refused(PHONE, "b", "storage_unavailable"), Returned(2)]
    assert check([*began(), *before, *after, stored("b", 2)], wrecked=True).good


def test_of_a_destroyed_database_nobody_is_owed_anything() -> None:
    told = [*began(), Sent(PHONE, "a", "user"), stored("a", 1)]
    assert {"lost", "unfinished"} <= kinds(told)
    assert check(told, wrecked=True).good


def test_a_device_without_an_end_is_unfinished() -> None:
    assert kinds(story()[:-1]) == {"unfinished"}


@pytest.mark.parametrize(("expect", "kind"), [(2, "doubled"), (4, "lost")])
def test_another_number_of_messages_than_expected_is_a_fault(expect: int, kind: str) -> None:
    assert kinds(story(), expect) == {kind}


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    told: list[Record] = [*story(), Refused(0, "b", "storage_unavailable"), Repeated(1, 2)]
    with Journal(path) as journal:
        for record in told:
            journal.write(record)
    assert list(read(path)) == told


def test_a_line_that_is_no_record_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"what":"nonsense"}\n')
    with pytest.raises(ValueError, match="no record"):
        list(read(path))


@pytest.mark.process
@pytest.mark.parametrize(("missing", "status"), [((), 0), (("tab has a",), 1)])
def test_the_program_tells_by_its_exit_status(
    tmp_path: Path, missing: tuple[str, ...], status: int
) -> None:
    # The receivers' journal comes first, as it may.
    told = story(*missing)
    for name, wanted in (("b", False), ("a", True)):
        with Journal(tmp_path / name) as journal:
            for record in told:
                if isinstance(record, Joined) or (record.by == PHONE) is wanted:
                    journal.write(record)
    command = [sys.executable, "-m", "scripts.faults.checker", "--expect", "3"]
    outcome = subprocess.run(
        [*command, tmp_path / "b", tmp_path / "a"], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == status, outcome.stdout + outcome.stderr
    assert ("lacks a, acknowledged at offset 3" in outcome.stdout) is bool(missing)
