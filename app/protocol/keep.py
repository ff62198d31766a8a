"""How a message is kept: for those connected now, in the log, or as the latest value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Store = Literal["none", "log", "latest"]

MAX_KEY_LENGTH: Final = 128
MAX_MESSAGE_ID_LENGTH: Final = 128
MAX_TTL_SECONDS: Final = 366 * 86_400
"""A year, leap day included."""

_STORES: Final = ("none", "log", "latest")


@dataclass(frozen=True, slots=True)
class Keep:
    """How a message is kept; `ttl` is in seconds, and `message_id` makes a repeat harmless.

    With `delete` the message says that the `latest` value of its `key` is gone: store is latest,
    and there is no `ttl`.
    """

    store: Store = "none"
    key: str | None = None
    ttl: int | None = None
    message_id: str | None = None
    delete: bool = False

    def __post_init__(self) -> None:
        if self.delete and (self.store != "latest" or self.key is None or self.ttl is not None):
            raise ValueError("delete belongs to store latest with a key, and takes no ttl")

    @property
    def durable(self) -> bool:
        """True when the message is kept at all."""
        return self.store != "none"


NOT_KEPT: Final = Keep()
LOGGED: Final = Keep("log")


def read_keep(fields: Mapping[str, Any]) -> Keep:
    """Return what `store`, `key`, `ttl`, `message_id` and `delete` ask for, null as if absent.

    A deletion has no `payload`. Raises ValueError with a sentence for people.
    """
    store = fields.get("store")
    key, ttl, message_id = fields.get("key"), fields.get("ttl"), fields.get("message_id")
    if key is None and ttl is None and message_id is None and "delete" not in fields:
        # Nearly always, and needs nothing new.
        if store is None:
            return NOT_KEPT
        if store == "log":
            return LOGGED
    if store is not None and store not in _STORES:
        raise ValueError("store is none, log or latest")
    delete = fields.get("delete")
    if delete is not None and not isinstance(delete, bool):
        raise ValueError("delete is true or false")
    if delete:
        store = _store_of_deletion(fields)
    if store in (None, "none"):
        for name, value in (("key", key), ("ttl", ttl), ("message_id", message_id)):
            if value is not None:
                raise ValueError(f"{name} belongs to durable messages: store is log or latest")
        return NOT_KEPT
    if (key is None) != (store == "log"):
        raise ValueError("key belongs to store latest, which needs one")
    _check_text("key", key, MAX_KEY_LENGTH)
    _check_text("message_id", message_id, MAX_MESSAGE_ID_LENGTH)
    if ttl is not None and (
        not isinstance(ttl, int) or isinstance(ttl, bool) or not 0 < ttl <= MAX_TTL_SECONDS
    ):
        raise ValueError(f"ttl is a whole number of seconds, 1 to {MAX_TTL_SECONDS}")
    return Keep(store, key, ttl, message_id, bool(delete))


def _store_of_deletion(fields: Mapping[str, Any]) -> Store:
    """Return `latest`, which need not be named; raise ValueError for what a deletion has not."""
    if fields.get("store") not in (None, "latest") or fields.get("key") is None:
        raise ValueError("delete removes a latest value: give its key, and no other store")
    if fields.get("ttl") is not None:
        raise ValueError("delete takes no ttl: a deletion is kept until every device may have it")
    if fields.get("payload") is not None:
        raise ValueError("delete takes no payload")
    return "latest"


def _check_text(name: str, value: object, limit: int) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise ValueError(f"{name} is a string of 1 to {limit} characters")
    # What was no UTF-8 in a header or an argument; no database and no JSON holds it.
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} is not UTF-8")
