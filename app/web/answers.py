"""JSON answers, and the shape of each: what the OpenAPI document says and tests compare."""

from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema


def json_response(value: Any, *, status: int = 200) -> web.Response:
    """Return `value` as a JSON answer."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


class Answer(BaseModel):
    """An object in an answer; what has no value is left out. Times are ms since 1970 (UTC)."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)


Absent = SkipJsonSchema[None]
"""Left out, never null."""


class FieldFault(Answer):
    """What is wrong with one field, without its value."""

    field: str
    code: str
    detail: str


class ProblemAnswer(Answer):
    """A refusal (RFC 9457). Act on `code`; `detail` is for people and may change."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldFault] | Absent = None


class StatusAnswer(Answer):
    """How the server is."""

    status: Literal["ok", "ready"]


class SignedInAnswer(Answer):
    """A new session."""

    token: str = Field(description="For `Authorization: Bearer`.")
    user_id: int
    user_handle: str
    permissions: list[str]
    device_id: int | Absent = None


class SignedOutAnswer(Answer):
    """The session is over."""

    signed_out: Literal[True]


class WhoAnswer(Answer):
    """Whose session it is."""

    user_id: int
    user_handle: str
    permissions: list[str]
    device_id: int | Absent = None


class ConnectionAnswer(Answer):
    """A live WebSocket."""

    connection_id: str
    instance: str
    connected_at: int


class DeviceAnswer(Answer):
    """A device as its user sees it."""

    id: int
    device_uuid: str
    device_type: str
    device_name: str | Absent = None
    os_info: str | Absent = None
    created_at: int
    last_seen: int
    online: bool
    connections: list[ConnectionAnswer]
    this_device: bool


class DeviceListAnswer(Answer):
    """The user's devices."""

    devices: list[DeviceAnswer]


class RevokedAnswer(Answer):
    """The devices that were revoked."""

    revoked: list[int]


class SentAnswer(Answer):
    """Who got a message. Of a message to everyone, `delivered` and `waiting` are numbers."""

    epoch: str | Absent = Field(None, description="The numbering of `offset`; if it is kept.")
    offset: int | Absent = Field(None, description="The number of the message, if it is kept.")
    duplicate: Literal[True] | Absent = Field(
        None, description="This message_id was stored before; nothing was sent now."
    )
    delivered: list[int] | int = Field(description="Devices of which a connection took it now.")
    waiting: list[int] | int | Absent = Field(
        None, description="Devices that will get it later; left out if that is unknown now."
    )


class SentOutcome(SentAnswer):
    """A message of a batch that was sent."""

    status: Literal[200]


class RefusedOutcome(Answer):
    """A message of a batch that was refused; the others are not."""

    status: int
    code: str
    detail: str
    errors: list[FieldFault] | Absent = None


class BatchAnswer(Answer):
    """An outcome for each message, in their order."""

    outcomes: list[SentOutcome | RefusedOutcome]


class RowTargetAnswer(Answer):
    """Who a kept message is for."""

    user: int | Absent = None
    device: int | Absent = None
    everyone: Literal[True] | Absent = None
    exclude_device: int | Absent = None
    exclude_instance: str | Absent = Field(
        None, description="Only this instance of `exclude_device` does not get it."
    )


class SourceAnswer(Answer):
    """The device that sent a message."""

    device_id: int
    instance: str


class RowAnswer(Answer):
    """A kept message."""

    offset: int
    type: str
    payload: Any
    to: RowTargetAnswer
    source: SourceAnswer | Absent = Field(None, alias="from")
    key: str | Absent = None
    created_at: int
    expires_at: int | Absent = None


class StreamAnswer(Answer):
    """A page of a stream, oldest first. The next one begins after `through`."""

    epoch: str
    rows: list[RowAnswer]
    through: int
    more: bool


class CursorAnswer(Answer):
    """What a device has acknowledged."""

    epoch: str
    offset: int


class UserDeviceAnswer(Answer):
    """A device as the application's backend sees it."""

    id: int
    device_uuid: str
    device_type: str
    device_name: str | Absent = None
    online: bool
    instances: list[str] = Field(description="Of its connections now.")
    cursor: CursorAnswer | Absent = None
    lag: int | Absent = Field(
        None, description="Kept messages for it above its cursor; 10000 means that or more."
    )
    last_seen: int


class UserDevicesAnswer(Answer):
    """A user's devices."""

    devices: list[UserDeviceAnswer]
