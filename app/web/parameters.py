"""Parameters of paths, queries and headers: each says once what it may be, and reads itself.

A row of a table of routes names them, the handler reads them. Every value is bounded before it is
used.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiohttp import web

from app.base.errors import Problem

# All such numbers fit the 64 bits of an id.
_MAX_DIGITS: Final = 18

_ID: Final[Mapping[str, Any]] = {"type": "integer", "minimum": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A parameter that its handler reads by itself."""

    name: str
    place: Literal["path", "query", "header"]
    what: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PathId:
    """The id in a path; `missing` makes the problem for what cannot be an id."""

    what: str
    missing: Callable[[], Problem]
    name: str = "id"

    @property
    def place(self) -> Literal["path"]:
        return "path"

    @property
    def schema(self) -> Mapping[str, Any]:
        return _ID

    def of(self, request: web.Request) -> int:
        """Return the id; raises `missing` for what cannot be one."""
        number = _id(request.match_info[self.name])
        if number is None:
            raise self.missing()
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _InQuery:
    """A parameter of the query; each may be left out."""

    name: str
    what: str

    @property
    def place(self) -> Literal["query"]:
        return "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryId(_InQuery):
    """An id in the query."""

    @property
    def schema(self) -> Mapping[str, Any]:
        return _ID

    def of(self, request: web.Request) -> int | None:
        """Return the id, None if it is left out; raises Problem 400 `invalid_parameter`."""
        text = request.query.get(self.name)
        if text is None:
            return None
        number = _id(text)
        if number is None:
            raise _invalid(f"{self.name} is an id.")
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeNumber(_InQuery):
    """A number from `least` to `most`, both included."""

    least: int
    most: int
    default: int

    @property
    def schema(self) -> Mapping[str, Any]:
        return {
            "type": "integer",
            "minimum": self.least,
            "maximum": self.most,
            "default": self.default,
        }

    def of(self, request: web.Request) -> int:
        """Return the number; raises Problem 400 `invalid_parameter`."""
        text = request.query.get(self.name)
        if text is None:
            return self.default
        # Nothing longer can be in the range.
        if text.isascii() and text.isdigit() and len(text) <= len(str(self.most)):
            value = int(text)
            if self.least <= value <= self.most:
                return value
        raise _invalid(f"{self.name} is a whole number, {self.least} to {self.most}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(_InQuery):
    """One of some words; the first if it is left out."""

    choices: tuple[str, ...]

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"enum": list(self.choices), "default": self.choices[0]}

    def of(self, request: web.Request) -> str:
        """Return the word; raises Problem 400 `invalid_parameter`."""
        text = request.query.get(self.name, self.choices[0])
        if text not in self.choices:
            raise _invalid(f"{self.name} is one of: {', '.join(self.choices)}.")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortText(_InQuery):
    """A text of at most `most` visible characters."""

    most: int

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "maxLength": self.most}

    def of(self, request: web.Request) -> str:
        """Return the text without the space around it, empty if it is left out.

        Raises Problem 400 `invalid_parameter`.
        """
        text = request.query.get(self.name, "").strip()
        # Halves of surrogate pairs cannot be asked for in a database.
        if len(text) > self.most or not text.isprintable():
            raise _invalid(f"{self.name} has {self.most} visible characters at most.")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactText(_InQuery):
    """A text of at most `most` characters, whatever they are."""

    most: int

    @property
    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "maxLength": self.most}

    def of(self, request: web.Request) -> str | None:
        """Return the text, None if it is left out; raises Problem 400 `invalid_parameter`."""
        text = request.query.get(self.name)
        if text is not None and len(text) > self.most:
            raise _invalid(f"{self.name} has {self.most} characters at most.")
        return text


def _id(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS:
        return int(text)
    return None


def _invalid(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", detail)
