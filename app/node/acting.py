"""For which device a feature acts, so that what it keeps in answer counts as that device's.

It holds for the handler of a message and for every task that the handler starts. Nothing else has a
device: what a feature sends from its own tasks counts as the backend's.
"""

from contextvars import ContextVar
from typing import Final

from app.streams.base import ANY

acting_device: Final[ContextVar[int]] = ContextVar("acting_device", default=ANY)
"""The device whose message is being handled; ANY if none is."""
