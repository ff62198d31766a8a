"""Parameters of paths and queries: every one is bounded before it is used."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from app.base.errors import Problem

# All such numbers fit the 64 bits of an id.
_MAX_DIGITS: Final = 18


def path_id(request: web.Request, missing: Problem) -> int:
    """Return the id in the path; raises `missing` for what cannot be one."""
    number = _id(request.match_info["id"])
    if number is None:
        raise missing
    return number


def query_id(request: web.Request, name: str) -> int | None:
    """Return the id, None if it is left out; raises Problem 400 `invalid_parameter`."""
    text = request.query.get(name)
    if text is None:
        return None
    number = _id(text)
    if number is None:
        raise _invalid(f"{name} is an id.")
    return number


def whole_number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """Return the number, `default` if it is left out; raises Problem 400 `invalid_parameter`."""
    text = request.query.get(name)
    if text is None:
        return default
    # Nothing longer can be in the range.
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)):
        value = int(text)
        if least <= value <= most:
            return value
    raise _invalid(f"{name} is a whole number, {least} to {most}.")


def choice(request: web.Request, name: str, choices: Sequence[str]) -> str:
    """Return one of these, the first if it is left out; raises Problem 400 `invalid_parameter`."""
    text = request.query.get(name, choices[0])
    if text not in choices:
        raise _invalid(f"{name} is one of: {', '.join(choices)}.")
    return text


def short_text(request: web.Request, name: str, most: int) -> str:
    """Return the text without the space around it, empty if it is left out.

    Raises Problem 400 `invalid_parameter`.
    """
    text = request.query.get(name, "").strip()
    # Halves of surrogate pairs cannot be asked for in a database.
    if len(text) > most or not text.isprintable():
        raise _invalid(f"{name} has {most} visible characters at most.")
    return text


def _id(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    return None


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", detail)
