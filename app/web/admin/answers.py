"""The shape of what administrators are answered."""

from pydantic import Field

from app.web.answers import Absent, Answer


class OverviewAnswer(Answer):
    """The server at a glance."""

    server_version: str
    started_at: int
    users: int
    users_online: int
    devices_online: int
    connections: int
    epoch: str
    head: int = Field(description="The newest offset of all streams.")


class AdminUserAnswer(Answer):
    """A user as an administrator sees one."""

    id: int
    user_handle: str | Absent = None
    iss: str | Absent = Field(None, description="Of a user from outside, as `sub`.")
    sub: str | Absent = None
    permissions: list[str]
    disabled: bool
    created_at: int
    devices: int
    connections: int = Field(description="Live ones, now.")


class NewUserAnswer(AdminUserAnswer):
    """A user who was just added."""

    password: str | Absent = Field(None, description="If the server made it; shown this once.")


class AdminUserPageAnswer(Answer):
    """A page of users, by id. The next one begins after the last id."""

    users: list[AdminUserAnswer]
    more: bool


class MadePasswordAnswer(Answer):
    """The password is set."""

    password: str | Absent = Field(None, description="If the server made it; shown this once.")


class AdminConnectionAnswer(Answer):
    """A live WebSocket as an administrator sees one."""

    connection_id: str
    user_id: int
    user_handle: str | Absent = None
    sub: str | Absent = Field(None, description="Of a user from outside.")
    device_id: int
    device_name: str | Absent = None
    device_type: str
    instance: str
    address: str
    positioned: bool
    behind: bool = Field(description="Whether it reads what it missed.")
    queue_frames: int = Field(description="Frames that wait in its outbox.")
    queue_bytes: int
    lag: int = Field(description="Offsets from its position to the head of its user's stream.")
    connected_at: int
    heard_seconds: int = Field(description="Seconds since it was last heard from.")
    frames_in: int
    frames_out: int
    dropped: int = Field(description="Frames that it could not take.")


class AdminConnectionPageAnswer(Answer):
    """A page of connections; `total` counts all that match."""

    total: int
    connections: list[AdminConnectionAnswer]


class TakenAnswer(Answer):
    """Whether the connection took the message."""

    taken: bool
