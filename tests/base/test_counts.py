"""What counts of more than one number say, and under which labels."""

import pytest

from app.base.counts import MAX_PREFIXES, Answers, PrefixCounter, Removals
from tests.clocks import HandClock


def test_a_peer_makes_no_label_and_counts_under_one_that_is_there() -> None:
    counter = PrefixCounter()
    counter.add("note", chosen_by_peer=True)
    counter.add("note")
    counter.add("note", 2, chosen_by_peer=True)
    counter.add("made_up", 4, chosen_by_peer=True)
    assert dict(counter.items()) == {"other": 5, "note": 3}


def test_prefixes_beyond_so_many_count_together() -> None:
    counter = PrefixCounter()
    for number in range(MAX_PREFIXES + 10):
        counter.add(f"p{number}")
    assert len(dict(counter.items())) == MAX_PREFIXES + 1
    assert dict(counter.items())["other"] == 10


def test_no_path_of_a_stranger_becomes_a_family() -> None:
    answers = Answers()
    answers.know({"/v1/devices/{id}": "devices"})
    for number in range(100):
        answers.add(f"/v1/devices/{number}", 404, 0.1)
    answers.add("/v1/devices/{id}", 200, 0.1)
    counts, seconds = answers.collect()
    assert {one.labels["family"] for one in counts.samples} == {"devices", "other", "unreadable"}
    assert {one.labels["family"] for one in seconds.samples} == {"devices", "other", "unreadable"}
    found = {tuple(one.labels.values()): one.value for one in counts.samples}
    assert (found["other", "4xx"], found["devices", "2xx"]) == (100, 1)


def values(removals: Removals) -> tuple[float, float]:
    """Return when retention last ended, and how long it took."""
    _rows, ends, took = removals.collect()
    [end] = [one.value for one in ends.samples if one.labels == {"work": "retention"}]
    [seconds] = [one.value for one in took.samples if one.labels == {"work": "retention"}]
    return end, seconds


def fail_after(clock: HandClock, seconds: float) -> None:
    clock.advance(seconds)
    raise OSError("full")


def test_work_that_fails_leaves_the_time_of_its_last_end() -> None:
    calendar, clock = HandClock(1000), HandClock(5)
    removals = Removals(calendar.stamp, clock.stamp)
    assert values(removals) == (0, 0)
    with removals.run("retention"):
        clock.advance(3)
    assert values(removals) == (1000, 3)
    calendar.advance(60)
    with pytest.raises(OSError, match="full"), removals.run("retention"):
        fail_after(clock, 7)
    assert values(removals) == (1000, 3)
