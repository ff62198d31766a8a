"""The checksum of a message: a CRC-32 over all its columns, which shows any changed bit."""

from typing import Any, Final
from zlib import crc32

from app.streams.base import RowValues

NEVER_UNCHECKED: Final = 0
"""No message may be without a checksum."""


def checksum(values: RowValues) -> int:
    """Return the checksum of a row's values, whatever stands in their `crc`.

    No two different rows give the same bytes to it: numbers end at a space, the lengths of the
    texts (-1: none) are among them, and the payload is all that follows the texts.
    """
    offset, user_id, type_, payload, target, without, without_instance = values[:7]
    source, source_instance, key, created_at, expires_at, deleted, _ = values[7:]
    numbers = f"{offset} {user_id} {target} {without} {source} {created_at} {expires_at} {deleted}"
    key_length = -1 if key is None else len(key)
    lengths = f"{len(type_)} {len(without_instance)} {len(source_instance)} {key_length}"
    texts = f"{type_}{without_instance}{source_instance}{'' if key is None else key}"
    return crc32(payload, crc32(f"{numbers} {lengths} {texts}".encode()))


def with_checksum(values: RowValues) -> RowValues:
    """Return the values with their checksum, as they are stored."""
    return (*values[:-1], checksum(values))


def is_sound(values: Any, last_unchecked: int = NEVER_UNCHECKED) -> bool:
    """Tell whether what SQLite gives for the columns of a row is what was stored.

    A row without a checksum is believed up to the offset `last_unchecked`.
    """
    found = values[-1]
    if found is None:
        return bool(values[0] <= last_unchecked)
    try:
        return bool(checksum(values) == found)
    except (TypeError, ValueError):
        # A text where bytes belong, or the like; or half of a surrogate pair.
        return False
