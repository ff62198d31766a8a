"""What a feature is, what it may answer, and which feature owns which type prefix.

A feature is an object with a `prefix` and a function `handle(connection, message)`, plain or async.
A plain one answers in the call in which the message arrives, and must not block; an async one may
wait, and then only the later messages of that connection for that feature wait with it.

The operator's own are named in the setting `features` as `module:attribute`, where the attribute is
a feature or a callable that takes the Node and returns one.
"""

import importlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from app.base.errors import SettingsError
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.messages import SYSTEM_TYPES, ClientMessage, is_type
from app.streams.committer import Done


@dataclass(frozen=True, slots=True)
class Reply:
    """What a feature answers instead of `ok`."""

    type: str
    payload: Any = None


@dataclass(slots=True)
class Accepted:
    """The message was taken, and these devices got something of it: the `ok` says so."""

    delivered: list[int]


@dataclass(slots=True)
class Storing:
    """The message is to be stored, and what comes of that answers it.

    The door calls `begin`, which calls its argument with what came of the message, such as
    `partial(node.append, publication)`; it may raise as a feature may.
    """

    begin: Callable[[Done], None]


Outcome = Reply | Accepted | Storing | None
"""What answers a message; None is `ok`."""

Handler = Callable[[Connection, ClientMessage], Outcome | Awaitable[Outcome]]


@runtime_checkable
class Feature(Protocol):
    """The owner of one type prefix."""

    prefix: str

    def handle(
        self, connection: Connection, message: ClientMessage
    ) -> Outcome | Awaitable[Outcome]:
        """Act on a message of the prefix and return what answers it, or an awaitable of that.

        Raises MessageError or Problem to refuse it; every other exception, and an answer that
        cannot be encoded, becomes `internal_error`. The messages of one connection for one feature
        are handled one after the other, in their order; no order holds between features.
        """


def handlers(features: Iterable[Feature]) -> Mapping[str, Handler]:
    """Return the handler of each prefix.

    Raises SettingsError when two features claim one prefix, or a prefix is not one.
    """
    table: dict[str, Handler] = {}
    for feature in features:
        prefix = feature.prefix
        if not is_type(prefix) or "." in prefix or prefix in SYSTEM_TYPES:
            raise SettingsError([f"{prefix!r} cannot be the prefix of a feature."])
        if prefix in table:
            raise SettingsError([f"Two features own the prefix {prefix!r}."])
        table[prefix] = feature.handle
    return table


def load_features(names: Iterable[str], node: Node) -> list[Feature]:
    """Import the operator's features.

    Raises SettingsError when one cannot be imported or is not a feature.
    """
    return [_load(name, node) for name in names]


def _load(name: str, node: Node) -> Feature:
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError([f"The feature {name!r} cannot be imported: {error}."]) from error
    if not isinstance(found, Feature) or isinstance(found, type):
        found = found(node) if callable(found) else found
    if not isinstance(found, Feature):
        raise SettingsError([f"{name!r} has no prefix and handle, so it is not a feature."])
    return found
