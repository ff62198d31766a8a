"""The actions of all commands, by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from app.base.errors import Problem
from app.control.actions import (
    api_keys,
    devices,
    limits,
    send,
    status,
    stream,
    tokens,
    users,
)
from app.control.actions.action import Action
from app.control.command import A, Command, R
from app.control.operations import Operations

ACTIONS: Final[Mapping[str, Action[Any, Any]]] = MappingProxyType(
    {
        action.command.name: action
        for actions in (
            users.ACTIONS,
            devices.ACTIONS,
            tokens.ACTIONS,
            api_keys.ACTIONS,
            send.ACTIONS,
            stream.ACTIONS,
            limits.ACTIONS,
            status.ACTIONS,
        )
        for action in actions
    }
)


def action_named(name: str) -> Action[Any, Any]:
    """Return the action of the command; raise Problem `unknown_command` when there is none."""
    action = ACTIONS.get(name)
    if action is None:
        raise Problem(404, "unknown_command", "The server does not know this command.")
    return action


async def act(operations: Operations, command: Command[A, R], arguments: A) -> R:
    """Run the command and return its result; raises Problem and NoServer."""
    action: Action[A, R] = action_named(command.name)
    return await action.run(operations, arguments)
