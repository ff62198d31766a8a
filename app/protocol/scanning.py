"""Finds the type and id of a message that is refused unread: too long to be decoded, or cut off.

Only both ends of its text are kept and searched. A decoder would need all of it, and take 25 ms of
the event loop for 256 KiB of nested arrays.
"""

from typing import Final

import orjson

from app.protocol.messages import MAX_ID_LENGTH, is_type

WINDOW_BYTES: Final = 4096
"""Searched at either end of a text: members of ours stand before or behind what is long."""


def type_and_id_in(head: bytes, tail: bytes = b"") -> tuple[str | None, str | None]:
    """Return `type` and `id` of a message, as far as they are found and well-formed.

    `head` is how its text begins, and `tail` how it ends, empty if it is cut off; both may be the
    whole text. Only members of the outermost object count, and of two with one name the first.
    """
    head, tail = head[:WINDOW_BYTES], tail[-WINDOW_BYTES:]
    front, back = _split(head), _split(tail)
    type_, found = (
        _value(head, front, _key_from_begin(front, name))
        or _value(tail, back, _key_from_end(back, name))
        for name in (b"type", b"id")
    )
    return (
        type_ if type_ is not None and is_type(type_) else None,
        found if found and len(found) <= MAX_ID_LENGTH else None,
    )


def _split(text: bytes) -> list[bytes]:
    """Return, alternating, what is outside of strings and what is inside of one."""
    # Of the same length; now each quote begins or ends a string.
    return text.replace(b"\\\\", b"__").replace(b'\\"', b"__").split(b'"')


def _key_from_begin(parts: list[bytes], name: bytes) -> int | None:
    """Return which part is the key of that name in the outermost object; all begins outside."""
    depth, counted = 0, 0
    for at in _keys(parts, name):
        if at % 2:
            depth += _deeper(parts[counted:at:2])
            counted = at + 1
            if depth == 1:
                return at
    return None


def _key_from_end(parts: list[bytes], name: bytes) -> int | None:
    """Do the same for a text of which the beginning is missing: it ends outside."""
    depth, counted = 0, len(parts)
    for at in reversed(_keys(parts, name)):
        if (len(parts) - at) % 2 == 0:
            depth -= _deeper(parts[at + 1 : counted : 2])
            counted = at
            if depth == 1:
                return at
    return None


def _keys(parts: list[bytes], name: bytes) -> list[int]:
    """Return which parts may be a key of that name."""
    return [
        at
        for at in range(len(parts) - 1)
        if parts[at] == name and parts[at + 1].lstrip().startswith(b":")
    ]


def _deeper(outside: list[bytes]) -> int:
    """Return how many more brackets open than close in what is outside of strings."""
    text = b"".join(outside)
    opened = text.count(b"{") + text.count(b"[")
    return opened - text.count(b"}") - text.count(b"]")


def _value(text: bytes, parts: list[bytes], key: int | None) -> str | None:
    """Return the string behind the key; None if there is no key, or its value is no string."""
    if key is None or key + 3 >= len(parts) or parts[key + 1].strip() != b":":
        return None
    begin = len(b'"'.join(parts[: key + 2])) + 1
    try:
        return str(orjson.loads(b'"%b"' % text[begin : begin + len(parts[key + 2])]))
    except orjson.JSONDecodeError:
        return None
