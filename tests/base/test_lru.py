"""The map that forgets what was used longest ago."""

from hypothesis import given
from hypothesis import strategies as st

from app.base.lru import Lru

KEPT = 4

keys = st.integers(0, 30)
steps = st.lists(st.tuples(st.sampled_from(["put", "get", "pop"]), keys), max_size=200)


@given(steps)
def test_the_entries_used_last_are_kept_and_never_too_many(taken: list[tuple[str, int]]) -> None:
    lru: Lru[int, int] = Lru(KEPT)
    uses: list[int] = []
    values: dict[int, int] = {}
    for number, (step, key) in enumerate(taken, 1):
        if step == "put":
            for gone, value in lru.put(key, number):
                assert values.pop(gone) == value
                assert gone not in lru
                assert gone not in uses[-KEPT:]
            values[key] = number
        elif step == "get":
            assert lru.get(key) == values.get(key)
        else:
            assert lru.pop(key) == values.pop(key, None)
            assert key not in lru
        if key in uses:
            uses.remove(key)
        if key in values:
            uses.append(key)
        assert len(lru) == len(values) <= 2 * KEPT
        assert all(used in lru for used in uses[-KEPT:])


def test_using_everything_again_and_again_keeps_no_more() -> None:
    lru: Lru[int, int] = Lru(KEPT)
    for turn in range(20):
        for number in range(KEPT):
            lru.put(turn * KEPT + number, 1)
        for key in range((turn + 1) * KEPT):
            lru.get(key)
        assert len(lru) <= 2 * KEPT


def test_what_is_cleared_is_unknown() -> None:
    lru: Lru[str, int] = Lru(1)
    for key in "abc":
        lru.put(key, 1)
    lru.clear()
    assert len(lru) == 0
    assert lru.get("c") is None
