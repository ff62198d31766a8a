"""What a command is: its name, what it takes and what it returns; nothing here runs one.

A command goes to the running server in a moment, so whatever describes commands imports neither the
database nor the web server (a test holds that).
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.base.errors import Problem

NO_SERVER: Final = "This needs a running server, and none uses this data folder."

MAX_ID: Final = (1 << 63) - 1
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
"""A row's number; SQLite has no larger one."""


class Arguments(BaseModel):
    """Base of what commands take; its errors show no values, since some are passwords."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def refuse_other_encodings(self) -> None:
        """Raise Problem `invalid_arguments` if a text, as of a command line, was not UTF-8."""
        for name, value in self.model_dump().items():
            try:
                orjson.dumps(value)
            except orjson.JSONEncodeError:
                raise Problem(400, "invalid_arguments", f"{name} is not UTF-8.") from None


class NoArguments(Arguments):
    """The arguments of a command that takes none."""


class Result(BaseModel):
    """Base of what commands return; a caller ignores fields that only a newer server has."""

    model_config = ConfigDict(frozen=True, extra="ignore")


PAGE_ROWS: Final = 500
"""The most rows of one answer: some 10 ms of the event loop."""


class PageArguments(Arguments):
    """Which page of a list: up to `limit` rows, with numbers above `after`."""

    after: Annotated[int, Field(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS)] = PAGE_ROWS


F = TypeVar("F")
V = TypeVar("V")


class Page(Result, Generic[V]):
    """Some rows of a list; `next` is the `after` of the next page, None after the last one."""

    rows: list[V]
    next: int | None = None

    @classmethod
    def of(
        cls, found: Sequence[F], limit: int, number: Callable[[F], int], view: Callable[[F], V]
    ) -> "Page[V]":
        """Return the page of what was found: up to `limit` rows, and one more if there is one."""
        rows = found[:limit]
        more = len(found) > limit
        return cls(rows=[view(row) for row in rows], next=number(rows[-1]) if more else None)


class Offline(Enum):
    """What a command needs when no server runs."""

    NEVER = "it needs a server"
    EXISTING = "it needs a data folder that has been used"
    CREATES = "it makes the data folder if there is none"


A = TypeVar("A", bound=Arguments)
R = TypeVar("R")


class Command(Generic[A, R]):
    """A command: its name, its arguments and its result; app/control/actions has what it does."""

    def __init__(
        self, name: str, arguments: type[A], result: Any, *, offline: Offline = Offline.EXISTING
    ) -> None:
        self.name = name
        self.offline = offline
        self._arguments = arguments
        self._result: TypeAdapter[R] = TypeAdapter(result)

    def read_arguments(self, arguments: object) -> A:
        """Return arguments that came as JSON; raise Problem `invalid_arguments` for others."""
        try:
            return self._arguments.model_validate(arguments)
        except ValidationError as error:
            raise Problem(400, "invalid_arguments", _sentence(error)) from None

    def result_json(self, result: R) -> Any:
        """Return the result as objects for JSON."""
        return self._result.dump_python(result, mode="json")

    def read_result(self, result: object) -> R:
        """Return the result that came as JSON; raise Problem when it has another shape."""
        try:
            return self._result.validate_python(result)
        except ValidationError:
            raise version_mismatch() from None


class Feed(Command[A, R]):
    """A command whose result comes item by item, while the caller reads; R is one item."""


def version_mismatch() -> Problem:
    """Return the Problem of a server that does not know what this version asks."""
    return Problem(500, "version_mismatch", "The server is of another version; restart it.")


def _sentence(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}." if where else f"{fault['msg']}."
