"""What is said of a route: the shape, and what many routes have in common."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel

Credential = Literal["none", "session", "key", "admin", "metrics"]

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the path, the query or a header."""

    name: str
    place: Literal["path", "query", "header"]
    what: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path. `problems` are its own refusals, as `status code`."""

    method: str
    path: str
    tag: str
    summary: str
    what: str = ""
    credential: Credential = "none"
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    status: int = 200
    answer: type[BaseModel] | None = None
    media: str = JSON
    problems: tuple[str, ...] = ()


SESSION: Final = ("401 unauthorized",)
KEY: Final = ("401 unauthorized", "403 forbidden")
WRITE: Final = ("403 forbidden_origin",)
ID: Final = {"type": "integer", "minimum": 1}
DEVICE_ID: Final = Parameter(name="id", place="path", what="The device's id.", schema=ID)
USER_ID: Final = Parameter(name="id", place="path", what="The user's id.", schema=ID)
