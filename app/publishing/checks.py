"""What a message may be, whoever sends it: its type, and how it is kept.

The texts go to sockets as they are; answers over HTTP make sentences of them.
"""

from collections.abc import Container, Mapping
from typing import Any

from app.base.errors import Problem
from app.protocol.keep import Keep, read_keep
from app.protocol.messages import (
    RESERVED_PREFIXES,
    SERVER_PREFIXES,
    feature_of,
    is_type,
)


def check_type(type_: str) -> None:
    """Raise Problem for a type that nobody but the server may send.

    400 `invalid_message` when it is malformed, 403 `forbidden` if it is the server's own.
    """
    _prefix_of(type_)


def check_device_type(type_: object, owned: Container[str]) -> str:
    """Return the type, which a device may send to other devices; features own `owned` prefixes.

    Raises Problem as `check_type` does, and 403 `forbidden` for a type without a dot or one that
    belongs to a feature: devices must not forge what features tell them.
    """
    checked, prefix = _prefix_of(type_)
    if prefix == checked:
        raise Problem(403, "forbidden", "a device may send only types with a dot")
    if prefix in RESERVED_PREFIXES or prefix in owned:
        raise Problem(403, "forbidden", f"the prefix {prefix} belongs to a feature")
    return checked


def _prefix_of(type_: object) -> tuple[str, str]:
    """Return the type and its prefix."""
    if not isinstance(type_, str) or not is_type(type_):
        raise Problem(
            400,
            "invalid_message",
            "a type is up to 128 characters: segments of a-z, 0-9 and _ joined by dots",
        )
    prefix = feature_of(type_)
    # A system type has no dot, so it is its own prefix.
    if prefix in SERVER_PREFIXES:
        raise Problem(403, "forbidden", f"the type {type_} is the server's own")
    return type_, prefix


def too_deep() -> Problem:
    """Return the refusal of a payload that can be decoded, but is too deep to encode again."""
    return Problem(400, "invalid_message", "the payload is nested too deep")


def keep_of(fields: Mapping[str, Any]) -> Keep:
    """Return how a message is to be kept; raises Problem 400 `invalid_message`."""
    try:
        return read_keep(fields)
    except ValueError as fault:
        raise Problem(400, "invalid_message", str(fault)) from None
