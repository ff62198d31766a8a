"""Close codes are what clients count on; what a peer sends cannot make new labels of metrics."""

import pytest

from app.protocol.close import CLOSES, label_of


def test_each_close_has_its_code_its_reason_and_says_whether_to_come_back() -> None:
    assert {(one.code, one.reason): one.reconnect for one in CLOSES} == {
        (1000, "replaced"): False,
        (1000, "too_many"): False,
        (1000, "signed_out"): False,
        (1001, "shutting_down"): True,
        (1001, "stream_reset"): True,
        (1011, "internal"): True,
        (1013, "overloaded"): True,
        (4001, "ping_unanswered"): True,
        (4002, "too_slow"): True,
        (4003, "rate_limit"): True,
        (4004, "closed_by_operator"): True,
        (4501, "session_expired"): False,
        (4502, "revoked"): False,
        (4503, "abuse"): False,
    }


@pytest.mark.parametrize("code", [*range(1000, 1016), 4001, 4002, 4003, 4004, 4501, 4502, 4503])
def test_a_code_of_the_standard_or_of_ours_is_counted_by_its_number(code: int) -> None:
    assert label_of(code) == str(code)


@pytest.mark.parametrize("code", [None, 0, 999, 1016, 3000, 4000, 4005, 4999, 65_535])
def test_any_other_code_is_counted_with_all_others(code: int | None) -> None:
    assert label_of(code) == "other"
