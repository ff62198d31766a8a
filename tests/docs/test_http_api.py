"""docs/http-api.md is what the server does: each request is sent, each table compared."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from delivery_peers import append
from serving import Server

from app.application import ROUTES
from app.auth.api_keys import ALL_SCOPES
from app.keys import API_KEYS, NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from app.web.message_bodies import MessageBody, SentAnswer, Target
from app.web.openapi import problems_of
from app.web.users import MAX_NAME, RowAnswer, UserAnswer, UserDeviceAnswer
from tests.docs.curl import play
from tests.docs.pages import page

PAGE = page("docs/http-api.md")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Alice's phone is connected; her laptop is away, and has acknowledged one message."""
    async with Server(tmp_path, close_seconds=0.3) as running:
        phone, laptop = [await running.device(name, "alice") for name in ("phone", "laptop")]
        peer = await running.connect(laptop, "?resume=live")
        send = Publication(ToUser(laptop.user_id), "note.text", keep=Keep("log"))
        stored = await append(running.app[NODE], send)
        await peer.send("ack", {"offset": stored.offset})
        await peer.send("ping", id="acknowledged")
        while (await peer.receive()).get("reply_to") != "acknowledged":
            pass
        await peer.close()
        await running.until(lambda: not running.manager.connection_count)
        await running.connect(phone)
        yield running


async def test_each_request_gets_the_answer_shown(server: Server) -> None:
    key = (await server.app[API_KEYS].add("shop", ["send", "read"], [])).key
    assert await play(server, key, PAGE.examples) >= 8


def rows(*head: str) -> set[str]:
    return {word.strip() for row in PAGE.table(*head) for word in row[0].split(",")}


def test_every_field_of_a_request_has_its_row() -> None:
    assert rows("field") == set(MessageBody.model_fields)
    assert rows("field of to") == set(Target.model_fields)


def test_every_key_of_an_answer_has_its_row() -> None:
    assert rows("field of the answer") == set(SentAnswer.model_fields)
    named = {field.alias or name for name, field in RowAnswer.model_fields.items()}
    assert rows("key of a row") == named
    assert rows("key of a user") == set(UserAnswer.model_fields)
    assert rows("key of a device") == set(UserDeviceAnswer.model_fields)


def test_every_parameter_that_finds_a_user_has_its_row() -> None:
    [route] = [route for route in ROUTES if route.path == "/v1/users"]
    assert rows("parameter of users") == {one.name for one in route.parameters}
    assert f"up to {MAX_NAME:,} characters" in PAGE.text


def test_every_scope_has_its_row() -> None:
    assert rows("scope", "what the key may do") == set(ALL_SCOPES)


def test_every_error_of_the_api_has_its_row_and_is_in_the_openapi_document() -> None:
    described = {
        (str(status), code)
        for route in ROUTES
        if route.tag == "Backend"
        for status, codes in problems_of(route).items()
        for code in codes
    }
    assert {row[:2] for row in PAGE.table("status", "code of the API")} == described
