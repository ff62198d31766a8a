"""Prefixes that clients already speak and whose feature is not part of this server yet."""

import logging

from app.base.logs import fields
from app.features.feature import Outcome
from app.node.connection import Connection
from app.protocol.messages import ClientMessage

log = logging.getLogger(__name__)


class AcceptedFeature:
    """Takes every message of its prefix, logs its type at debug, and does nothing with it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def handle(self, connection: Connection, message: ClientMessage) -> Outcome:
        """Accept the message."""
        log.debug("accepted", extra=fields(type=message.type, connection=connection.connection_id))
        return None
