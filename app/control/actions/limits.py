"""What the command does that asks who is at a limit."""

from typing import Final

from app.control import limits as commands
from app.control.actions.action import Action
from app.control.limits import MetLimit, WhoseLimits
from app.control.operations import Operations
from app.node.limited import Met
from app.storage.directory import UserName, user_names
from app.storage.schema import milliseconds


async def _list(operations: Operations, arguments: WhoseLimits) -> list[MetLimit]:
    limited = operations.running_node().allowances.limited
    user = None if arguments.user is None else await operations.user(arguments.user)
    recent = [met for met in limited.recent() if user is None or met.user_id == user.id]
    async with operations.database.read() as connection:
        names = await user_names(connection, {met.user_id for met in recent})
    return [_view(met, names.get(met.user_id)) for met in recent]


def _view(met: Met, user: UserName | None) -> MetLimit:
    return MetLimit(
        user_id=met.user_id,
        user_handle=user and user.handle,
        subject=user and user.sub,
        limit=met.limit,
        count=met.count,
        began_at=milliseconds(met.since),
        last_at=milliseconds(met.last),
    )


ACTIONS: Final = (Action(commands.LIST, _list),)
