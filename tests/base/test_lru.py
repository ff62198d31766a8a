"""The map that forgets what was used longest ago."""

from hypothesis import given
from hypothesis import strategies as st

from app.base.lru import Recent

KEPT = 4

keys = st.integers(0, 30)
steps = st.lists(st.tuples(st.sampled_from(["put", "get", "pop"]), keys), max_size=200)


@given(steps)
def test_the_entries_used_last_are_kept_and_never_too_many(taken: list[tuple[str, int]]) -> None:
    recent: Recent[int, int] = Recent(KEPT)
    uses: list[int] = []
    values: dict[int, int] = {}
    for number, (step, key) in enumerate(taken, 1):
        if step == "put":
            for gone, value in recent.put(key, number):
                assert values.pop(gone) == value
                assert gone not in recent
                assert gone not in uses[-KEPT:]
            values[key] = number
        elif step == "get":
            assert recent.get(key) == values.get(key)
        else:
            assert recent.pop(key) == values.pop(key, None)
            assert key not in recent
        if key in uses:
            uses.remove(key)
        if key in values:
            uses.append(key)
        assert len(recent) == len(values) <= 2 * KEPT + 1
        assert all(used in recent for used in uses[-KEPT:])


def test_using_everything_again_and_again_keeps_no_more() -> None:
    recent: Recent[int, int] = Recent(KEPT)
    for turn in range(20):
        for number in range(KEPT):
            recent.put(turn * KEPT + number, 1)
        for key in range((turn + 1) * KEPT):
            recent.get(key)
        assert len(recent) <= 2 * KEPT + 1


def test_what_is_cleared_is_unknown() -> None:
    recent: Recent[str, int] = Recent(1)
    for key in "abc":
        recent.put(key, 1)
    recent.clear()
    assert len(recent) == 0
    assert recent.get("c") is None
