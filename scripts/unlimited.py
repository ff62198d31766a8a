"""A server that takes whatever it is sent, as measurements and trials of other things need it."""

from collections.abc import Mapping
from typing import Final

UNLIMITED: Final[Mapping[str, str]] = dict.fromkeys(
    (
        "MESSAGES_PER_SECOND",
        "BYTES_PER_SECOND",
        "DURABLE_PER_SECOND",
        "USER_MESSAGES_PER_SECOND",
        "USER_BYTES_PER_SECOND",
        "USER_DELIVERIES_PER_SECOND",
        "USER_DURABLE_PER_SECOND",
        "USER_UPGRADES_PER_SECOND",
        "USER_WRITES_PER_SECOND",
        "NEW_DEVICES_PER_DAY",
    ),
    "0",
)
"""The settings that lift each limit of a rate."""
