"""Every command by its name; the running server and the offline way use this same table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.base.errors import Problem
from app.control import devices, keys, send, status, stream, tokens, users
from app.control.operations import Command

COMMANDS: Mapping[str, Command[Any, Any]] = MappingProxyType(
    {
        command.name: command
        for command in (
            users.ADD,
            users.LIST,
            users.SET_PASSWORD,
            users.DISABLE,
            users.ENABLE,
            users.DELETE,
            devices.LIST,
            devices.RENAME,
            devices.REVOKE,
            tokens.ISSUE,
            tokens.LIST,
            tokens.REVOKE,
            keys.ADD,
            keys.LIST,
            keys.REVOKE,
            send.SEND,
            stream.INFO,
            stream.SHOW,
            stream.RESET,
            status.STATUS,
        )
    }
)


def command_named(name: str) -> Command[Any, Any]:
    """Return the command; raise Problem `unknown_command` when there is none."""
    command = COMMANDS.get(name)
    if command is None:
        raise Problem(404, "unknown_command", "The server does not know this command.")
    return command
