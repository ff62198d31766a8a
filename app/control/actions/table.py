"""The actions of all commands, by name."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from app.base.errors import Problem
from app.control.actions import (
    api_keys,
    connections,
    devices,
    limits,
    prune,
    send,
    status,
    stream,
    tokens,
    users,
)
from app.control.actions.action import Action, FeedAction
from app.control.command import A, Command, Feed, R
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
            connections.ACTIONS,
            status.ACTIONS,
        )
        for action in actions
    }
)

FEEDS: Final[Mapping[str, FeedAction[Any, Any]]] = MappingProxyType(
    {feed.command.name: feed for feed in (*connections.FEEDS, *prune.FEEDS)}
)


def action_named(name: str) -> Action[Any, Any]:
    """Return the action of the command; raise Problem `unknown_command` when there is none."""
    action = ACTIONS.get(name)
    if action is None:
        raise _unknown()
    return action


def feed_named(name: str) -> FeedAction[Any, Any]:
    """Return the action of the feed; raise Problem `unknown_command` when there is none."""
    feed = FEEDS.get(name)
    if feed is None:
        raise _unknown()
    return feed


def _unknown() -> Problem:
    return Problem(404, "unknown_command", "The server does not know this command.")


async def act(operations: Operations, command: Command[A, R], arguments: A) -> R:
    """Run the command and return its result; raises Problem and NoServer."""
    action: Action[A, R] = action_named(command.name)
    return await action.run(operations, arguments)


def begin(
    operations: Operations, feed: Feed[A, R], arguments: A
) -> AsyncGenerator[Sequence[R], None]:
    """Begin the feed and return its batches of items; they raise Problem and NoServer."""
    action: FeedAction[A, R] = feed_named(feed.name)
    return action.run(operations, arguments)
