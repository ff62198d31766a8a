"""The OpenAPI document and its page say what the server does."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.application import ROUTES
from app.web.auth import SignedInAnswer, SignedOutAnswer, WhoAnswer
from app.web.devices import DeviceAnswer, DeviceListAnswer
from app.web.documentation import DOCUMENTATION, Documentation
from app.web.health import StatusAnswer
from app.web.problems import ProblemAnswer
from tests.web.api import PASSWORD, Api, problem
from tests.web.backend import shop

DOCUMENT = Documentation(ROUTES).document
SCHEMAS = DOCUMENT["components"]["schemas"]


def described() -> set[tuple[str, str]]:
    return {
        (method.upper(), path)
        for path, operations in DOCUMENT["paths"].items()
        for method in operations
    }


def valid(name: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    return bool(Draft202012Validator(schema).is_valid(value))


def test_the_document_is_valid_openapi_3_1() -> None:
    faults = [fault.message for fault in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]
    assert faults == []


def test_every_row_of_the_tables_is_described_and_no_other() -> None:
    assert described() == {(route.method, route.path) for route in ROUTES}
    assert len(described()) == len(ROUTES)


async def test_the_document_is_served_as_it_is(api: Api) -> None:
    response = await api.http.get("/v1/openapi.json")
    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == json.loads(json.dumps(DOCUMENT))


def test_every_operation_has_its_own_id() -> None:
    ids = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({"to": {"user": 1}, "type": "note.text"}, True),
        ({"to": {"user": {"iss": "a", "sub": "b"}}, "type": "note"}, True),
        ({"to": {"everyone": True}, "type": "note.text", "store": "log", "ttl": 1}, True),
        ({"to": {"everyone": False}, "type": "note.text"}, False),
        ({"to": {"user": 1.5}, "type": "note.text"}, False),
        ({"to": {"user": 1}, "type": "Note"}, False),
        ({"to": {"user": 1}}, False),
        ({"to": {"user": 1}, "type": "note", "store": "disk"}, False),
        ({"to": {"user": 1}, "type": "note", "store": "log", "ttl": 0}, False),
    ],
    ids=str,
)
async def test_the_schema_of_a_message_judges_as_the_server_does(
    api: Api, body: Any, right: bool
) -> None:
    assert valid("MessageBody", body) is right
    answer = await (await shop(api, "send")).post(body)
    assert (answer.status != 400) is right


async def test_answers_are_as_they_are_described(api: Api) -> None:
    login = await api.login()
    signed_in = await login.json()
    SignedInAnswer.model_validate(signed_in)
    headers = {"Authorization": signed_in["token"]}
    await api.connect(headers)

    async def of(method: str, path: str, **more: Any) -> Any:
        response = await api.http.request(method, path, headers=headers, **more)
        assert response.status == 200
        return await response.json()

    WhoAnswer.model_validate(await of("GET", "/v1/auth/session"))
    listed = await of("GET", "/v1/devices")
    DeviceListAnswer.model_validate(listed)
    one = f"/v1/devices/{listed['devices'][0]['id']}"
    DeviceAnswer.model_validate(await of("PATCH", one, json={"device_name": "TV"}))
    StatusAnswer.model_validate(await of("GET", "/health"))
    StatusAnswer.model_validate(await of("GET", "/ready"))
    SignedOutAnswer.model_validate(await of("POST", "/v1/auth/logout"))


async def test_refusals_are_as_they_are_described(api: Api) -> None:
    backend = await shop(api, "send")
    refused = await problem(await backend.post({"to": {}, "type": 1}))
    ProblemAnswer.model_validate(refused)
    ProblemAnswer.model_validate(await problem(await api.http.get("/v1/auth/session")))
    wrong = await api.login(password=f"{PASSWORD}!")
    ProblemAnswer.model_validate(await problem(wrong))


async def test_the_page_loads_nothing_and_runs_nothing(api: Api) -> None:
    response = await api.http.get("/v1/docs")
    text = await response.text()
    assert response.status == 200
    assert response.content_type == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in text
    assert " style=" not in text
    assert not re.findall(r"(?:src|href)=\"(?!#|/v1/openapi\.json)", text)


def test_the_page_has_every_route_and_every_object_once() -> None:
    text = Documentation(ROUTES).page
    for route in ROUTES:
        assert f'<span class="path">{route.path}</span>' in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(SCHEMAS) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


async def test_the_page_and_the_document_are_made_once(api: Api) -> None:
    documentation = api.app[DOCUMENTATION]
    assert documentation.document is documentation.document
    assert documentation.page is documentation.page
