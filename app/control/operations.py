"""What a command is, and which parts of the server it may use."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.auth.accounts import Accounts
from app.auth.api_keys import ApiKeys
from app.auth.endings import ToClose
from app.base.errors import NoServer, Problem
from app.node.node import Node
from app.publishing.publisher import Publisher
from app.settings import Settings
from app.storage.database import Database
from app.storage.users import User

NO_SERVER = "This needs a running server, and none uses this data folder."

MAX_ID: Final = (1 << 63) - 1
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
"""A row's number; SQLite has no larger one."""

_ID_PREFIX = "id="


@dataclass(frozen=True, slots=True)
class Operations:
    """The parts that commands use; those with a default, and `node`, are None without a server."""

    accounts: Accounts
    node: Node | None
    settings: Settings
    url: str | None = None
    publisher: Publisher | None = None
    api_keys: ApiKeys = field(kw_only=True)
    database: Database = field(kw_only=True)

    def end(self, ended: ToClose) -> int:
        """Close the live connections of the ended sessions; return how many there were."""
        if self.node is None:
            return 0
        return self.node.end(ended)

    def running_node(self) -> Node:
        """Return the node; raise NoServer when no server runs."""
        if self.node is None:
            raise NoServer(NO_SERVER)
        return self.node

    def running_publisher(self) -> Publisher:
        """Return what sends messages; raise NoServer when no server runs."""
        if self.publisher is None:
            raise NoServer(NO_SERVER)
        return self.publisher

    def online(self, user_id: int) -> frozenset[int]:
        """Return the user's devices that are connected to this server."""
        if self.node is None:
            return frozenset()
        return frozenset(self.node.manager.get_connected_devices(user_id))

    async def user(self, name: str) -> User:
        """Return the user of a handle, or of `id=NUMBER` since users from outside have no handle.

        Raises Problem `user_not_found`.
        """
        found = user_name(name)
        if isinstance(found, int):
            return await self.accounts.get_user(found)
        return await self.accounts.find_user(found)


def user_name(name: str) -> int | str:
    """Return the id in `id=NUMBER`, else the name, which is a handle."""
    number = name.removeprefix(_ID_PREFIX)
    if number != name and number.isascii() and number.isdigit() and int(number[:20]) <= MAX_ID:
        return int(number)
    return name


class Arguments(BaseModel):
    """Base of what commands take; its errors show no values, since some are passwords."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class NoArguments(Arguments):
    """The arguments of a command that takes none."""


class Result(BaseModel):
    """Base of what commands return; a caller ignores fields that only a newer server has."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Offline(Enum):
    """What a command needs when no server runs."""

    NEVER = "it needs a server"
    EXISTING = "it needs a data folder that has been used"
    CREATES = "it makes the data folder if there is none"


A = TypeVar("A", bound=Arguments)
R = TypeVar("R")


class Command(Generic[A, R]):
    """A command: its name, its arguments, its result and the function that runs it."""

    def __init__(
        self,
        name: str,
        arguments: type[A],
        result: Any,
        run: Callable[[Operations, A], Awaitable[R]],
        *,
        offline: Offline = Offline.EXISTING,
    ) -> None:
        self.name = name
        self.offline = offline
        self._arguments = arguments
        self._result: TypeAdapter[R] = TypeAdapter(result)
        self._run = run

    async def run(self, operations: Operations, arguments: A) -> R:
        """Run the command and return its result; raises Problem and NoServer."""
        return await self._run(operations, arguments)

    async def run_json(self, operations: Operations, arguments: object) -> Any:
        """Run the command with arguments that came as JSON; return its result for JSON.

        Raises Problem `invalid_arguments` too.
        """
        try:
            parsed = self._arguments.model_validate(arguments)
        except ValidationError as error:
            raise Problem(400, "invalid_arguments", _sentence(error)) from None
        return self._result.dump_python(await self.run(operations, parsed), mode="json")

    def read_result(self, result: object) -> R:
        """Return the result that came as JSON; raise Problem when it has another shape."""
        try:
            return self._result.validate_python(result)
        except ValidationError:
            raise Problem(
                500, "version_mismatch", "The server is of another version; restart it."
            ) from None


def _sentence(error: ValidationError) -> str:
    fault = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}." if where else f"{fault['msg']}."
