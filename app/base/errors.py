"""The error tree. A class that another module defines has that in parentheses.

SwitchboardError
├── SettingsError            the configuration is not usable
├── BackupFault              a backup cannot be made or used (app/storage/backup.py)
├── DataDirBusy              another process holds the data folder
├── DatabaseLost             a data folder had a database, and has none
├── DatabaseFailed           the database could not be read or written
├── NoServer                 a command needs a running server
├── ListenEnded              coming back would not help (app/listen/signing.py)
├── SendError
│   ├── NotConnected         no connection of that device on this node
│   └── Disconnected         none of its connections could take the message
└── Problem                  a request is refused; has a stable `code` and an HTTP status
    ├── InvalidBody          a body is JSON, but not what is asked for (app/web/bodies.py)
    └── StorageUnavailable   nothing was written: the disk is full, the database locked or gone
"""

from collections.abc import Sequence
from typing import Final


class SwitchboardError(Exception):
    """An error whose text tells people what is wrong; the command line prints it."""


class SettingsError(SwitchboardError):
    """The configuration is not usable; `faults` has a sentence for each reason."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class DataDirBusy(SwitchboardError):
    """Another process holds the lock of the data folder."""


class DatabaseLost(SwitchboardError):
    """The data folder had a database once, and has none."""


class DatabaseFailed(SwitchboardError):
    """The database could not be read or written, in a command that works on it itself."""


class NoServer(SwitchboardError):
    """A command needs a running server, and none holds the data folder."""


class SendError(SwitchboardError):
    """A message could not be handed to a device."""

    def __init__(self, user_id: int, device_id: int) -> None:
        self.user_id = user_id
        self.device_id = device_id
        super().__init__(user_id, device_id)


class NotConnected(SendError):
    """The device has no connection on this node."""

    def __str__(self) -> str:
        return f"device {self.device_id} of user {self.user_id} is not connected"


class Disconnected(SendError):
    """The device is connected, but none of its connections could take the message."""

    def __str__(self) -> str:
        return f"no connection of device {self.device_id} of user {self.user_id} took the message"


class Problem(SwitchboardError):
    """A request is refused: an HTTP status, a stable `code` and a sentence for people.

    Over HTTP it becomes an application/problem+json answer (RFC 9457); on the control socket and on
    a WebSocket, an error with the same code. `retry_after` is in seconds, for the HTTP header;
    `retry_after_ms` is for a time that is known exactly, and is told wherever the problem is.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        if retry_after_ms is not None and retry_after is None:
            # Rounded up: a second earlier it would be refused again.
            retry_after = -(-retry_after_ms // 1000)
        self.retry_after = retry_after
        self.retry_after_ms = retry_after_ms
        super().__init__(detail)


class StorageUnavailable(Problem):
    """Nothing is stored, as far as is known: the disk is full, or the database locked or gone."""

    def __init__(self, detail: str | None = None) -> None:
        detail = detail or "The message could not be stored; nothing of it is kept. Try again."
        super().__init__(503, "storage_unavailable", detail, retry_after=2)


def sentence(text: str) -> str:
    """Return the text as a sentence; the name of a field at its beginning keeps its case."""
    text = text.strip()
    first = text.partition(" ")[0]
    if first not in _FIELDS and "_" not in first:
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


_FIELDS: Final = frozenset({"to", "type", "payload", "store", "key", "ttl", "delete"})
