"""What requests may carry: a limit on every field, and a reader that trusts nothing."""

from typing import Annotated, Any, Final, TypeVar

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.base.errors import Problem
from app.protocol.messages import has_wide_integer
from app.web.problems import InvalidBody

# The largest body but for messages is a sign-in of well under 2 KiB.
MAX_BODY_BYTES = 16_384

_JSON = "application/json"

B = TypeVar("B", bound="Body")

# As many characters as a password may have bytes before it is hashed.
SECRET_LENGTH = 1024
Secret = Annotated[str, Field(max_length=SECRET_LENGTH, repr=False)]

# Cut to its limit instead of refused, so that here only the size of the body bounds it.
Cut = Annotated[str | None, Field(max_length=MAX_BODY_BYTES)]


class Body(BaseModel):
    """A JSON object; keys that we don't know are ignored, as on the wire."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class LoginBody(Body):
    """POST /v1/auth/login."""

    user_handle: str = Field(max_length=256)
    password: Secret
    device_uuid: str = Field(max_length=256)
    device_type: str = Field(max_length=256)
    device_name: Cut = None
    os_info: Cut = None


class PasswordBody(Body):
    """POST /v1/auth/password."""

    old_password: Secret
    new_password: Secret


class RenameBody(Body):
    """PATCH /v1/devices/{id}; null takes the name away."""

    device_name: Cut


def message_limit(max_message_bytes: int) -> int:
    """Return how long a body may be that holds one message."""
    # Escapes and indentation make a body longer than the message in it.
    return MAX_BODY_BYTES + 2 * max_message_bytes


async def read_body(request: web.Request, model: type[B]) -> B:
    """Return the body as a `model`.

    Raises Problem: 415 unsupported_media_type, 413 too_large, 400 invalid_json or invalid_body.
    """
    return parse(model, _object(await _read(request, MAX_BODY_BYTES)))


async def read_exact(request: web.Request, limit: int) -> dict[str, Any]:
    """Return the body as the JSON object that it is, of at most `limit` bytes.

    Raises what `read_body` does; an integer that would become another number is invalid_body too.
    """
    raw = await _read(request, limit)
    value = _object(raw)
    if has_wide_integer(raw.decode()):
        raise InvalidBody("An integer in the body does not fit into 64 bits.")
    return value


def parse(model: type[B], value: object) -> B:
    """Return the value as a `model`; raises Problem 400 invalid_body, which names the fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid(error) from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, "invalid_json", f"The body is not valid JSON at {where}.") from None
    if not isinstance(value, dict):
        raise InvalidBody("The body has to be a JSON object.")
    return value


def _check_media_type(request: web.Request) -> None:
    given = request.headers.get(hdrs.CONTENT_TYPE)
    if given is not None and given.partition(";")[0].strip().lower() != _JSON:
        raise Problem(415, "unsupported_media_type", f"The body has to be {_JSON}.")
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    if encoding.strip().lower() != "identity":
        raise Problem(415, "unsupported_media_type", "The body must not be compressed.")


async def _read(request: web.Request, limit: int) -> bytes:
    _check_media_type(request)
    body = bytearray()
    while chunk := await request.content.readany():
        body.extend(chunk)
        if len(body) > limit:
            raise Problem(413, "too_large", f"The body may have {limit} bytes at most.")
    return bytes(body)


def _invalid(error: ValidationError) -> InvalidBody:
    errors = tuple(
        {
            "field": ".".join(str(part) for part in fault["loc"]),
            "code": fault["type"],
            "detail": _DETAILS.get(fault["type"], f"{fault['msg']}."),
        }
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
    names = ", ".join(fault["field"] for fault in errors if fault["field"])
    return InvalidBody(f"Not as they should be: {names or 'all of it'}.", errors)


_DETAILS: Final = {
    "model_type": "Input should be an object.",
    "model_attributes_type": "Input should be an object.",
}
"""Where pydantic's words name classes of ours."""
