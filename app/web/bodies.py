"""JSON in both directions: what bodies and answers are made of, and a reader that trusts nothing.

The models of single requests and answers stand beside their handlers.
"""

import asyncio
import codecs
from typing import Annotated, Any, Final, TypeVar

import orjson
from aiohttp import hdrs, web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema

from app.base.errors import Problem
from app.keys import SETTINGS
from app.protocol.messages import may_have_wide_integer, wide_integers
from app.requests.route import JSON, MAX_BODY_BYTES, ROUTE
from app.settings import Settings

SECRET_LENGTH: Final = 1024
"""Characters of a password: as many as it may have bytes before it is hashed."""

Secret = Annotated[str, Field(max_length=SECRET_LENGTH, repr=False)]
"""A password."""

Cut = Annotated[str | None, Field(max_length=MAX_BODY_BYTES)]
"""A text that is cut later instead of refused, so only the size of the body bounds it here."""

Absent = SkipJsonSchema[None]
"""Left out, never null."""


class Body(BaseModel):
    """A JSON object in a request; keys that we don't know are ignored, as in messages."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class Answer(BaseModel):
    """An object in an answer; what has no value is left out. Times are ms since 1970 (UTC)."""

    model_config = ConfigDict(strict=True, extra="forbid", populate_by_name=True)


B = TypeVar("B", bound=Body)


class InvalidBody(Problem):
    """The body is JSON, but not what is asked for; `errors` names fields, never their values."""

    def __init__(self, detail: str, errors: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(400, "invalid_body", detail)
        self.errors = errors


def json_response(value: Any, *, status: int = 200) -> web.Response:
    """Return the value as a JSON answer."""
    return web.Response(status=status, body=orjson.dumps(value), content_type=JSON)


def present(**fields: Any) -> dict[str, Any]:
    """Return the fields that have a value; an answer leaves the others out."""
    return {name: value for name, value in fields.items() if value is not None}


def message_limit(settings: Settings) -> int:
    """Return how many bytes a body may have that holds one message."""
    # Escapes and indentation make a body longer than the message in it.
    return MAX_BODY_BYTES + 2 * settings.max_message_bytes


async def read_body(request: web.Request, model: type[B]) -> B:
    """Return the body as a `model`.

    Raises Problem: 415 unsupported_media_type, 413 too_large, 400 invalid_json or invalid_body.
    """
    return parse(model, _object(await _read(request)))


async def read_exact(request: web.Request) -> dict[str, Any]:
    """Return the body as the JSON object that it is.

    Raises what `read_body` does; an integer that would become another number is invalid_body too.
    """
    raw = await _read(request)
    value = _object(raw)
    text = raw.decode("utf-8-sig")
    for found in wide_integers(text) if may_have_wide_integer(text) else ():
        if found:
            raise InvalidBody("An integer in the body does not fit into 64 bits.")
        # A large body takes many steps, between which others have their turn.
        await asyncio.sleep(0)
    return value


def parse(model: type[B], value: object) -> B:
    """Return the value as a `model`; raises Problem 400 invalid_body, which names the fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _invalid(error) from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        # RFC 8259, section 8.1, lets a parser ignore a byte order mark; some programs write one.
        value = orjson.loads(raw.removeprefix(codecs.BOM_UTF8))
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, "invalid_json", f"The body is not valid JSON at {where}.") from None
    if not isinstance(value, dict):
        raise InvalidBody("The body has to be a JSON object.")
    return value


def _check_media_type(request: web.Request) -> None:
    given = request.headers.get(hdrs.CONTENT_TYPE)
    if given is not None and given.partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "unsupported_media_type", f"The body has to be {JSON}.")
    encodings = request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower().split(",")
    if any(encoding.strip() not in ("", "identity") for encoding in encodings):
        raise Problem(415, "unsupported_media_type", "The body must not be compressed.")


async def _read(request: web.Request) -> bytes:
    _check_media_type(request)
    limit = request[ROUTE].body_limit(request.app[SETTINGS])
    body = bytearray()
    # A client that says so at once need not send it.
    while (request.content_length or 0) <= limit and len(body) <= limit:
        chunk = await request.content.readany()
        if not chunk:
            return bytes(body)
        body.extend(chunk)
    raise Problem(413, "too_large", f"The body may have {limit} bytes at most.")


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
"""Sentences in place of pydantic's where those name classes of ours."""
