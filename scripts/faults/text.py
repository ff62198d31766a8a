"""The payloads of a trial's messages, made so that a changed one can be told."""

from typing import Any

TYPE = "chaos.note"


def payload(name: str, size: int) -> dict[str, Any]:
    """Return the payload of the message of this name, with a text of `size` characters."""
    return {"message": name, "size": size, "text": _text(name, size)}


def is_whole(payload: dict[str, Any]) -> bool:
    """Tell whether this payload is unchanged."""
    return bool(payload["text"] == _text(payload["message"], payload["size"]))


def _text(name: str, size: int) -> str:
    word = f"{name} ü "
    return (word * (size // len(word) + 1))[:size]
