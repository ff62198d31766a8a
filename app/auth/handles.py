"""Handles: how users call themselves. Pure."""

import unicodedata

from app.base.errors import Problem

HANDLE_LENGTH = 64


def clean_handle(text: str) -> str:
    """Return the handle as it is shown; raises Problem 400 `invalid_handle`."""
    # Normalising a long text costs time, and none of these can become a handle.
    handle = unicodedata.normalize("NFC", text.strip()) if len(text) <= 1024 else ""
    if not 1 <= len(handle) <= HANDLE_LENGTH or not handle.isprintable() or " " in handle:
        raise Problem(
            400,
            "invalid_handle",
            f"A handle has 1 to {HANDLE_LENGTH} characters, none of them a space or invisible.",
        )
    return handle


def handle_key(handle: str) -> str:
    """Return what is equal for handles that differ only in case."""
    return unicodedata.normalize("NFC", handle.casefold())
