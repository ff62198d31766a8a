"""What a message may be, on every way in."""

import pytest

from app.base.errors import Problem
from app.protocol.keep import Keep
from app.protocol.messages import RESERVED_PREFIXES, SERVER_PREFIXES
from app.publishing.checks import check_device_type, check_type, keep_of

OWNED = {"todo"}


def code(check, *arguments) -> str:
    with pytest.raises(Problem) as refusal:
        check(*arguments)
    return refusal.value.code


@pytest.mark.parametrize("type_", ["", "A", "a..b", ".a", "a.", "a b", "ä", "a" * 129, 7, None])
def test_a_malformed_type_is_invalid_for_everybody(type_) -> None:
    assert code(check_type, type_) == "invalid_message"
    assert code(check_device_type, type_, OWNED) == "invalid_message"


@pytest.mark.parametrize("prefix", sorted(SERVER_PREFIXES))
def test_the_servers_own_types_are_forbidden_for_everybody(prefix: str) -> None:
    for type_ in (prefix, f"{prefix}.x"):
        assert code(check_type, type_) == "forbidden"
        assert code(check_device_type, type_, OWNED) == "forbidden"


@pytest.mark.parametrize("type_", [*(f"{one}.x" for one in sorted(RESERVED_PREFIXES)), "todo.x"])
def test_what_features_say_a_backend_may_send_and_a_device_must_not_forge(type_: str) -> None:
    check_type(type_)
    assert code(check_device_type, type_, OWNED) == "forbidden"


def test_a_type_without_a_dot_is_for_backends_only() -> None:
    check_type("catalog_invalidation")
    assert code(check_device_type, "catalog_invalidation", OWNED) == "forbidden"
    assert check_device_type("note.text", OWNED) == "note.text"


def test_how_a_message_is_kept_is_told_or_refused() -> None:
    assert keep_of({"store": "latest", "key": "k", "ttl": 5}) == Keep("latest", "k", 5)
    assert code(keep_of, {"key": "k"}) == "invalid_message"
