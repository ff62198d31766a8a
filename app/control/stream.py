"""Commands on streams: what is kept for whom, and a new epoch."""

from typing import Annotated, Any, Final

from pydantic import Field

from app.control.command import MAX_ID, PAGE_ROWS, Arguments, Command, NoArguments, Result

Offset = Annotated[int, Field(ge=0, le=MAX_ID)]


class WhichStream(Arguments):
    """The user whose stream to show as well, if any: a handle, or `id=NUMBER`."""

    user: str | None = None


class WhichRows(Arguments):
    """Rows of the user and of everyone above an offset; without a user, those of everyone alone."""

    user: str | None = None
    after: Offset = 0
    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS)] = PAGE_ROWS


class DeviceStanding(Result):
    """How far a device has got: `lag` counts the messages for it above its cursor.

    The cursor is None before the first `ack`; a `stale` one is of an older epoch.
    """

    device_id: int
    device_name: str | None
    online: bool
    cursor: int | None = None
    stale: bool = False
    lag: int | None = None


class Budget(Result):
    """What counts against one budget: rows of the log and deletions, and the keys of values."""

    rows: int
    keys: int


class UserStream(Result):
    """One user's stream: `rows` are their own and those of everyone, a budget's the user's own.

    `new_ids` are the message ids that the user's devices have added in the last 24 hours, of which
    they may add `max_new_ids`; 0 is no limit.
    """

    user_id: int
    user_handle: str | None
    head: int
    floor: int
    rows: int
    keys: int
    new_ids: int
    max_new_ids: int
    of_devices: Budget
    of_backend: Budget
    devices: list[DeviceStanding]


class StreamInfo(Result):
    """Figures of all streams; `bytes` is the size of the database, times are in ms since 1970.

    `message_ids` are those of which the server recognises a repeat.
    """

    epoch: str
    last: int
    rows: int
    rows_of_devices: int
    users: int
    bytes: int
    everyone_rows: int
    everyone_floor: int
    users_with_floor: int
    oldest_at: int | None
    message_ids: int
    user: UserStream | None = None


class RowView(Result):
    """A durable message as it is kept; `size` is of its payload, in bytes.

    `deleted` is set on the deletion of a `latest` value.
    """

    offset: int
    user_id: int
    type: str
    payload: Any
    size: int
    target_device: int | None = None
    without_device: int | None = None
    without_instance: str | None = None
    source_device: int | None = None
    source_instance: str | None = None
    key: str | None = None
    created_at: int
    expires_at: int | None = None
    deleted: bool | None = None


class Rows(Result):
    """Rows in the order of their offsets; `more` tells whether there are rows above them."""

    rows: list[RowView]
    more: bool


class Reset(Result):
    """The epoch that ended, the one that began, and how many connections that closed."""

    before: str
    epoch: str
    connections_closed: int


INFO: Final = Command[WhichStream, StreamInfo]("stream.info", WhichStream, StreamInfo)
SHOW: Final = Command[WhichRows, Rows]("stream.show", WhichRows, Rows)
RESET: Final = Command[NoArguments, Reset]("stream.reset", NoArguments, Reset)
