"""The OpenAPI 3.1 document, made from the tables of routes and the models that validate bodies."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.base.version import VERSION
from app.requests.route import JSON, Parameter, Route, Tag
from app.web.csrf import SAFE_METHODS
from app.web.message_bodies import MessageBody
from app.web.problems import PROBLEM_TYPE, ProblemAnswer

_SCHEMA: Final = "#/components/schemas/"

_ABOUT: Final = (
    "The HTTP interface of Switchboard. An application's backend presents an API key, a device its "
    "session. Every refusal is `application/problem+json` with a stable `code`."
)

# Problems of every route, of those with a body, and of writes with the cookie.
_ALWAYS: Final = (
    "400 malformed_request",
    "408 request_timeout",
    "414 uri_too_long",
    "431 headers_too_large",
    "500 internal_error",
)
_WITH_BODY: Final = (
    "400 invalid_json",
    "400 invalid_body",
    "400 disconnected",
    "413 too_large",
    "415 unsupported_media_type",
)
_WITH_COOKIE: Final = ("403 forbidden_origin",)

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

# By credential: each scheme of a list is enough, and an empty one stands for none at all.
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "none": [],
    "key": [{"key": []}],
    "session": [{"session": []}, {"cookie": []}],
    "admin": [{"session": []}, {"cookie": []}, {"key": []}],
    "metrics": [{"metrics": []}, {}],
}


def make_document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document: chapter by chapter, each in the order of the tables."""
    chapters = get_args(Tag)
    ordered = sorted(routes, key=lambda route: chapters.index(route.tag))
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for route in ordered:
        paths[route.path][route.method.lower()] = _operation(route)
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
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in ordered)],
        "paths": dict(paths),
        "components": {"schemas": _schemas(ordered), "securitySchemes": _SECURITY_SCHEMES},
    }


def problems_of(route: Route) -> dict[int, list[str]]:
    """Return the codes of all refusals of the route, by status."""
    rule = route.handler.rule
    lines = {*_ALWAYS, *rule.refusals, *route.problems}
    if route.body is not None:
        lines.update(_WITH_BODY)
    if rule.credential in ("session", "admin") and route.method not in SAFE_METHODS:
        lines.update(_WITH_COOKIE)
    found: defaultdict[int, list[str]] = defaultdict(list)
    for line in sorted(lines):
        status, _, code = line.partition(" ")
        found[int(status)].append(code)
    return dict(found)


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    taken = [route.body for route in routes if route.body is not None]
    given = [route.answer for route in routes if route.answer is not None]
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

    Answers may have more keys one day, so the schema closes none of them.
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


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "security": _SECURITY[route.handler.rule.credential],
        "responses": {str(route.status): _answer(route), **_refusals(route)},
    }
    if route.what:
        operation["description"] = route.what
    if route.parameters:
        operation["parameters"] = [_parameter(one) for one in route.parameters]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation


def _operation_id(route: Route) -> str:
    words = [word for word in route.path.split("/") if word and word != "v1"]
    return "_".join([route.method.lower(), *words]).replace("{", "").replace("}", "")


def _answer(route: Route) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.answer is not None:
        answer["content"] = _content(route.answer)
    elif route.status == HTTPStatus.OK:
        kind = "object" if route.media == JSON else "string"
        answer["content"] = {route.media: {"schema": {"type": kind}}}
    return answer


def _refusals(route: Route) -> dict[str, Any]:
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": f"{_SCHEMA}ProblemAnswer"}}},
        }
        for status, codes in sorted(problems_of(route).items())
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
