"""An action: a command, and the function that runs it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic

from app.control.command import A, Command, R
from app.control.operations import Operations


@dataclass(frozen=True, slots=True)
class Action(Generic[A, R]):
    """Runs one command; raises Problem and NoServer."""

    command: Command[A, R]
    run: Callable[[Operations, A], Awaitable[R]]

    async def run_json(self, operations: Operations, arguments: object) -> Any:
        """Run the command with arguments that came as JSON; return its result for JSON.

        Raises Problem `invalid_arguments` too.
        """
        parsed = self.command.read_arguments(arguments)
        return self.command.result_json(await self.run(operations, parsed))
