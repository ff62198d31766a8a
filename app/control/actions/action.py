"""An action: a command, and the function that runs it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic

from app.control.command import A, Command, Feed, R
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


@dataclass(frozen=True, slots=True)
class FeedAction(Generic[A, R]):
    """Gives the items of one feed, some at a time; raises Problem and NoServer.

    An empty batch is a sign of life, for a caller that would else give up.
    """

    command: Feed[A, R]
    run: Callable[[Operations, A], AsyncGenerator[Sequence[R], None]]

    def run_json(
        self, operations: Operations, arguments: object
    ) -> AsyncGenerator[list[Any], None]:
        """Give the items for JSON, of arguments that came as JSON.

        Raises Problem `invalid_arguments` too.
        """
        return self._for_json(self.run(operations, self.command.read_arguments(arguments)))

    async def _for_json(
        self, batches: AsyncGenerator[Sequence[R], None]
    ) -> AsyncGenerator[list[Any], None]:
        async with aclosing(batches):
            async for batch in batches:
                yield [self.command.result_json(item) for item in batch]
