"""What the metrics count, and under which labels."""

from app.base.metrics import MAX_PREFIXES, PrefixCounter


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
