"""A row in a table of routes: all there is to know about one method of one path.

A file that answers requests exports its rows as `ROUTES`, and `application` joins the tables of
all rooms. The OpenAPI document is made from the rows too, so one row is all that a new endpoint
needs beside its handler.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel

from app.requests.rules import Checked
from app.settings import Settings

# The paths that more than one file has to know.
LOGIN: Final = "/v1/auth/login"
SOCKET: Final = "/v1/ws"

JSON: Final = "application/json"

MAX_BODY_BYTES: Final = 16_384
"""The largest body but for messages is a sign-in of well under 2 KiB."""

Tag = Literal["Backend", "Sessions", "Devices", "Administration", "Server"]
"""The chapters of the documentation."""


class Parameter(Protocol):
    """A parameter as the documentation describes it; `schema` is JSON Schema."""

    @property
    def name(self) -> str: ...
    @property
    def place(self) -> Literal["path", "query", "header"]: ...
    @property
    def what(self) -> str: ...
    @property
    def schema(self) -> Mapping[str, Any]: ...


def small_body(_settings: Settings) -> int:
    """Return how many bytes a body may have that holds no message."""
    return MAX_BODY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path: how it is answered, its limit, and its documentation.

    `problems` are refusals of the handler's own, as `status code`. Those of the access rule, of a
    body and of every route go without saying.
    """

    method: str
    path: str
    handler: Checked
    head: bool = True
    """Whether a GET answers HEAD too; False where asking has an effect."""
    body_limit: Callable[[Settings], int] = small_body
    """How many bytes a body may have."""

    tag: Tag
    summary: str
    what: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    status: int = 200
    answer: type[BaseModel] | None = None
    media: str = JSON
    problems: tuple[str, ...] = ()

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer the request, or raise what its access rule or its handler raises."""
        request[ROUTE] = self
        return await self.handler.run(request)


ROUTE: Final = web.RequestKey("route", Route)
"""The row by which a request is answered."""
