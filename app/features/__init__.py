"""What a feature of an operator's own imports; provisional until the extension point is complete.

docs/operations.md shows how to write one. Nothing else in `app` is meant to be imported.
"""

from app.base.errors import Problem
from app.features.feature import Accepted, Feature, Outcome, Reply, Storing
from app.node.connection import Connection
from app.node.node import Node
from app.protocol.keep import Keep
from app.protocol.messages import ClientMessage, MessageError
from app.protocol.publication import Publication, ToDevice, ToEveryone, ToOthers, ToUser

__all__ = [
    "Accepted",
    "ClientMessage",
    "Connection",
    "Feature",
    "Keep",
    "MessageError",
    "Node",
    "Outcome",
    "Problem",
    "Publication",
    "Reply",
    "Storing",
    "ToDevice",
    "ToEveryone",
    "ToOthers",
    "ToUser",
]
