"""The OpenAPI 3.1 document, made from the models that validate what comes in."""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.base.version import VERSION
from app.web.answers import ProblemAnswer, json_response
from app.web.endpoint import JSON, Endpoint, Parameter
from app.web.endpoints import ENDPOINTS
from app.web.message_bodies import MessageBody
from app.web.problems import PROBLEM_TYPE

_SCHEMA: Final = "#/components/schemas/"

_ABOUT: Final = (
    "The HTTP interface of Switchboard. An application's backend presents an API key, a device its "
    "session. Every refusal is `application/problem+json` with a stable `code`."
)

# Of every route; those with a body have some more.
_ALWAYS: Final = ("400 malformed_request", "408 request_timeout", "500 internal_error")
_WITH_BODY: Final = (
    "400 invalid_json",
    "400 invalid_body",
    "400 disconnected",
    "413 too_large",
    "415 unsupported_media_type",
)

_SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, made by `keys add`.",
    },
    "session": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a session, or a JWT of your own.",
    },
    "cookie": {"type": "apiKey", "in": "cookie", "name": "session_token"},
    "metrics": {"type": "http", "scheme": "bearer", "description": "The metrics token."},
}

# Each is enough; an empty one means: also without.
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "none": [],
    "key": [{"key": []}],
    "session": [{"session": []}, {"cookie": []}],
    "admin": [{"session": []}, {"cookie": []}, {"key": []}],
    "metrics": [{"metrics": []}, {}],
}


async def openapi(request: web.Request) -> web.Response:
    """200 with the document."""
    return json_response(document())


@cache
def document() -> dict[str, Any]:
    """Return the document; it never changes while the server runs."""
    schemas = _schemas()
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for endpoint in ENDPOINTS:
        paths[endpoint.path][endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Switchboard",
            "version": VERSION,
            "summary": "Messages between the devices of your users.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in ENDPOINTS)],
        "paths": dict(paths),
        "components": {"schemas": schemas, "securitySchemes": _SECURITY_SCHEMES},
    }


def problems_of(endpoint: Endpoint) -> dict[int, list[str]]:
    """Return the codes with which it refuses, by status."""
    always = (*_ALWAYS, *_WITH_BODY) if endpoint.body is not None else _ALWAYS
    found: defaultdict[int, list[str]] = defaultdict(list)
    for line in sorted({*always, *endpoint.problems}):
        status, _, code = line.partition(" ")
        found[int(status)].append(code)
    return dict(found)


def _schemas() -> dict[str, Any]:
    taken = [one.body for one in ENDPOINTS if one.body is not None]
    given = [one.answer for one in ENDPOINTS if one.answer is not None]
    _, defined = models_json_schema(
        [(model, "validation") for model in _once([*taken, MessageBody])]
        + [(model, "serialization") for model in _once([*given, ProblemAnswer])],
        ref_template=f"{_SCHEMA}{{model}}",
    )
    schemas: dict[str, Any] = _plain(defined["$defs"])
    return schemas


def _once(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return list(dict.fromkeys(models))


def _plain(schema: Any) -> Any:
    """Return the schema without what would mislead: defaults of null, titles made from names.

    Answers may have more keys one day, so none of them is said to be closed.
    """
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _plain(value)
        for name, value in schema.items()
        if not (name == "default" and value is None)
        and not (name == "title" and isinstance(value, str))
        and name != "additionalProperties"
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "security": _SECURITY[endpoint.credential],
        "responses": {str(endpoint.status): _answer(endpoint), **_refusals(endpoint)},
    }
    if endpoint.what:
        operation["description"] = endpoint.what
    if endpoint.parameters:
        operation["parameters"] = [_parameter(one) for one in endpoint.parameters]
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(endpoint.body)}
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    words = [word for word in endpoint.path.split("/") if word and word != "v1"]
    return "_".join([endpoint.method.lower(), *words]).replace("{", "").replace("}", "")


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.answer is not None:
        answer["content"] = _content(endpoint.answer)
    elif endpoint.status == HTTPStatus.OK:
        kind = "object" if endpoint.media == JSON else "string"
        answer["content"] = {endpoint.media: {"schema": {"type": kind}}}
    return answer


def _refusals(endpoint: Endpoint) -> dict[str, Any]:
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": f"{_SCHEMA}ProblemAnswer"}}},
        }
        for status, codes in sorted(problems_of(endpoint).items())
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.what,
        "schema": parameter.schema,
    }


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {JSON: {"schema": {"$ref": f"{_SCHEMA}{model.__name__}"}}}
