"""What an application's backend asks to be sent, and what it is answered."""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.auth.addressees import Addressee, Subject
from app.protocol.keep import MAX_KEY_LENGTH, MAX_MESSAGE_ID_LENGTH, MAX_TTL_SECONDS
from app.protocol.messages import MAX_TYPE_LENGTH
from app.publishing.publisher import DeviceTarget, EveryoneTarget, UserTarget
from app.storage.schema import MAX_ID
from app.web.bodies import Absent, Answer, Body
from app.web.problems import FieldFault

MAX_BATCH: Final = 1000
"""Messages of one request: each has its own outcome, and all of them are held in memory."""

MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
"""Parsing this much JSON takes some 30 ms, in which the server does nothing else."""

_MAX_NAME: Final = 1024

_Id = Annotated[int, Field(ge=1, le=MAX_ID)]


class OutsideUser(Body):
    """A user of your own accounts, as your JWTs name them."""

    iss: str = Field(max_length=_MAX_NAME, description="The issuer of the JWTs.")
    sub: str = Field(max_length=_MAX_NAME, description="The subject of the JWTs.")


def _kind(value: object) -> str | None:
    if isinstance(value, str):
        return "handle"
    if isinstance(value, int) and not isinstance(value, bool):
        return "id"
    return "outside" if isinstance(value, dict | OutsideUser) else None


_User = Annotated[
    Annotated[int, Tag("id")]
    | Annotated[str, Field(max_length=_MAX_NAME), Tag("handle")]
    | Annotated[OutsideUser, Tag("outside")],
    Discriminator(
        _kind,
        custom_error_type="user",
        custom_error_message="a user is an id, a handle, or an object of iss and sub",
    ),
]


def _only_true(value: bool) -> bool:
    if not value:
        raise PydanticCustomError("true", "leave it out, or give true")
    return value


# Not Literal[True], which takes 1 too.
_True = Annotated[
    bool, AfterValidator(_only_true), WithJsonSchema({"type": "boolean", "const": True})
]


class Target(Body):
    """Who gets the message: exactly one of `user`, `device` and `everyone`."""

    user: _User | None = Field(
        None, description="All devices of a user: an id, a handle, or `iss` and `sub`."
    )
    device: _Id | None = Field(None, description="One device, by its id.")
    everyone: _True | None = Field(None, description="All devices of all users.")
    exclude_device: _Id | None = Field(
        None, description="A device of the user that does not get it; only with `user`."
    )

    @model_validator(mode="after")
    def _one(self) -> "Target":
        given = [one for one in (self.user, self.device, self.everyone) if one is not None]
        if len(given) != 1:
            raise PydanticCustomError("target", "give exactly one of user, device and everyone")
        if self.exclude_device is not None and self.user is None:
            raise PydanticCustomError("target", "exclude_device belongs to user")
        return self

    def target(self) -> UserTarget | DeviceTarget | EveryoneTarget:
        """Return the target that is meant."""
        if self.user is not None:
            return UserTarget(_name(self.user), self.exclude_device)
        return DeviceTarget(self.device) if self.device is not None else EveryoneTarget()


class MessageBody(Body):
    """POST /v1/messages, and each message of a batch."""

    to: Target
    type: str = Field(
        description="Segments of `a-z`, `0-9` and `_`, joined by dots.",
        json_schema_extra={
            "maxLength": MAX_TYPE_LENGTH,
            "pattern": r"^[a-z0-9_]+(\.[a-z0-9_]+)*$",
        },
    )
    payload: Any = Field(None, description="Any JSON; null if it is left out.")
    store: Literal["none", "log", "latest"] | None = Field(
        None,
        description="`none`: for those connected now. `log`: kept, and given to each device that "
        "was away. `latest`: kept, and of one `key` only the newest. `none` if it is left out.",
    )
    key: str | None = Field(
        None,
        description="Names the value that `latest` replaces, or that `delete` removes.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_KEY_LENGTH},
    )
    ttl: int | None = Field(
        None,
        description="Seconds after which a kept message is of no use any more.",
        json_schema_extra={"minimum": 1, "maximum": MAX_TTL_SECONDS},
    )
    delete: bool | None = Field(
        None,
        description="`true`: there is no value of this `type` and `key` any more. Implies `store` "
        "`latest`; without `payload` and `ttl`.",
    )
    message_id: str | None = Field(
        None,
        description="Yours; the same one again stores nothing again. For kept messages only.",
        json_schema_extra={"minLength": 1, "maxLength": MAX_MESSAGE_ID_LENGTH},
    )


class BatchBody(Body):
    """POST /v1/messages/batch; each message is judged for itself."""

    messages: list[Any] = Field(
        min_length=1,
        max_length=MAX_BATCH,
        json_schema_extra={"items": {"$ref": "#/components/schemas/MessageBody"}},
    )


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
    retry_after_ms: int | Absent = Field(
        None, description="Milliseconds until it is of use to try again, where that is known."
    )
    errors: list[FieldFault] | Absent = None


class BatchAnswer(Answer):
    """An outcome for each message, in their order."""

    outcomes: list[SentOutcome | RefusedOutcome]


def _name(user: int | str | OutsideUser) -> Addressee:
    return Subject(user.iss, user.sub) if isinstance(user, OutsideUser) else user
