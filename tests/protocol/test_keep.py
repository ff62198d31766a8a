"""How a message asks to be kept."""

from typing import Any

import pytest

from app.protocol.keep import MAX_KEY_LENGTH, MAX_TTL_SECONDS, NOT_KEPT, Keep, read_keep

DELETION = Keep("latest", "k", delete=True)


@pytest.mark.parametrize(
    ("fields", "keep"),
    [
        ({}, NOT_KEPT),
        ({"store": "none", "key": None, "ttl": None, "delete": None}, NOT_KEPT),
        ({"delete": False}, NOT_KEPT),
        ({"store": "log"}, Keep("log")),
        ({"store": "log", "delete": False}, Keep("log")),
        ({"store": "latest", "key": "k", "ttl": MAX_TTL_SECONDS}, Keep("latest", "k", 31_622_400)),
        ({"store": "log", "ttl": 1, "message_id": "m" * 128}, Keep("log", None, 1, "m" * 128)),
        ({"store": "latest", "key": "k" * 128}, Keep("latest", "k" * 128)),
        ({"store": "latest", "key": "é"}, Keep("latest", "é")),
        ({"store": "latest", "key": "k", "delete": True}, DELETION),
        ({"key": "k", "delete": True}, DELETION),
        ({"key": "k", "delete": True, "payload": None, "ttl": None, "store": None}, DELETION),
        (
            {"key": "k", "delete": True, "message_id": "m"},
            Keep("latest", "k", message_id="m", delete=True),
        ),
    ],
    ids=str,
)
def test_what_makes_sense_is_taken(fields: dict[str, Any], keep: Keep) -> None:
    assert read_keep(fields) == keep


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"store": "disk"}, "store"),
        ({"key": "k"}, "key"),
        ({"store": "log", "key": "k"}, "key"),
        ({"store": "latest"}, "key"),
        ({"store": "latest", "key": "k" * (MAX_KEY_LENGTH + 1)}, "key"),
        ({"store": "log", "ttl": MAX_TTL_SECONDS + 1}, "ttl"),
        *(({"store": "log", "ttl": ttl}, "ttl") for ttl in (0, -1, True, False, 1.5, 2.0, "5")),
        ({"store": "log", "message_id": "m" * 129}, "message_id"),
        ({"store": "log", "message_id": "\udc80"}, "UTF-8"),
        ({"store": "latest", "key": "\ud800"}, "UTF-8"),
        ({"store": "latest", "key": "k\udfff"}, "UTF-8"),
        ({"store": "none", "key": "k"}, "key"),
        ({"ttl": 5}, "ttl"),
        ({"message_id": "m"}, "message_id"),
        ({"delete": True}, "key"),
        ({"store": "latest", "delete": True}, "key"),
        ({"store": "log", "delete": True}, "store"),
        ({"store": "log", "key": "k", "delete": True}, "store"),
        ({"store": "none", "key": "k", "delete": True}, "store"),
        ({"key": "k", "delete": True, "ttl": 5}, "ttl"),
        ({"key": "k", "delete": True, "payload": 0}, "payload"),
        ({"key": "k", "delete": True, "payload": {}}, "payload"),
        ({"key": "", "delete": True}, "key"),
        ({"key": 1, "delete": True}, "key"),
        ({"key": "k", "delete": 1}, "delete"),
        ({"key": "k", "delete": "true"}, "delete"),
        ({"store": "log", "delete": "no"}, "delete"),
        ({"key": "k", "delete": True, "message_id": ""}, "message_id"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_with_the_name_of_the_field(
    fields: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        read_keep(fields)


@pytest.mark.parametrize(
    ("store", "key", "ttl"), [("log", None, None), ("latest", None, None), ("latest", "k", 5)]
)
def test_no_code_makes_a_deletion_of_something_else(store: Any, key: Any, ttl: Any) -> None:
    with pytest.raises(ValueError, match="delete"):
        Keep(store, key, ttl, delete=True)


def test_only_what_is_kept_is_durable() -> None:
    assert [Keep(store).durable for store in ("none", "log")] == [False, True]
    assert Keep("latest", "k").durable
