"""Text that came from a peer, as the log shows it: one short line without secrets. Pure."""

import re
from typing import Final

NAME_LENGTH: Final = 64
"""Characters of a handle or a `sub` in the log; a handle has no more, a `sub` may have 255."""

SECRET_LENGTH: Final = 40
"""Letters in a row that may be a secret: our tokens have 43, as has the shortest signature of a
JWT. A uuid has 36, and no word of a User-Agent comes near."""

MASK: Final = "***"

_SECRET: Final = re.compile(rf"[A-Za-z0-9_-]{{{SECRET_LENGTH},}}")


def clean(text: str, length: int = NAME_LENGTH) -> str:
    """Return the text cut to `length` characters, with `?` for each that is not printable.

    Not printable are also what moves the cursor or turns the direction of writing, line
    separators, and the halves of surrogate pairs that stand for bytes that are no UTF-8.
    """
    return "".join(char if char.isprintable() else "?" for char in text[:length])


def handle_shown(handle: str | None) -> str | None:
    """Return a handle or a `sub` as the log shows it; None, which leaves it out, for none."""
    return clean(handle) if handle else None


def masked(text: str, length: int) -> str:
    """Return the text as `clean` does, with `***` for all that may be a token or a key."""
    # Cut last: the first half of a token would not look like one.
    return clean(_SECRET.sub(MASK, text), length)
