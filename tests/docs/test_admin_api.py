"""docs/admin-api.md is what the server does: each request is sent, each table compared."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from delivery_peers import append
from serving import Server

from app.application import ROUTES
from app.keys import ACCOUNTS, API_KEYS, NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from app.web.admin.access import MAX_SEARCH
from app.web.admin.connections import MAX_NAMES, AdminConnectionAnswer
from app.web.openapi import problems_of
from tests.docs.curl import play
from tests.docs.pages import page

PAGE = page("docs/admin-api.md")
SHOWN_ID = "e08856c6-1"
OF_ADMINISTRATORS = [route for route in ROUTES if route.tag == "Administration"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Alice, an administrator, has a phone that is connected and a laptop that is away."""
    # No ping of ours is among the frames that the page counts, however slow the machine.
    async with Server(tmp_path, close_seconds=0.3, heartbeat_seconds=3600) as running:
        alice = await running.user("alice", roles=("admin",))
        await running.user("bob")
        phone = await running.device("phone", "alice")
        await running.device("laptop", "alice")
        await running.app[ACCOUNTS].rename_device(alice, phone.device_id, "Alice's phone")
        peer = await running.connect(phone)
        await append(running.app[NODE], Publication(ToUser(alice), "n.x", keep=Keep("log")))
        await peer.receive()
        running.app[NODE].allowances.limited.note(alice, "upgrades")
        yield running


async def test_each_request_gets_the_answer_shown(server: Server) -> None:
    key = (await server.app[API_KEYS].add("console", ["admin"], [])).key
    [connection] = server.manager.connections()
    examples = [
        replace(one, text=one.text.replace(SHOWN_ID, connection.connection_id))
        for one in PAGE.examples
    ]
    assert await play(server, key, examples) >= 7


def rows(*head: str) -> set[str]:
    return {word.strip() for row in PAGE.table(*head) for word in row[0].split(",")}


def test_every_parameter_has_its_row() -> None:
    described = {
        route.path: {parameter.name for parameter in route.parameters}
        for route in OF_ADMINISTRATORS
        if route.method == "GET"
    }
    assert rows("parameter of users") == described["/v1/admin/users"]
    assert rows("parameter of connections") == described["/v1/admin/connections"]


def test_every_key_of_a_connection_has_its_row() -> None:
    assert rows("key of a connection") == set(AdminConnectionAnswer.model_fields)


def test_every_error_has_its_row_and_is_in_the_openapi_document() -> None:
    described = {
        (str(status), code)
        for route in OF_ADMINISTRATORS
        for status, codes in problems_of(route).items()
        for code in codes
    }
    assert {row[:2] for row in PAGE.table("status", "code of these routes")} == described


def test_the_limits_are_those_of_the_code() -> None:
    assert f"1 to {MAX_SEARCH} characters" in PAGE.text
    assert f"{MAX_NAMES:,} users" in PAGE.text
