"""docs/protocol.md is what the server does: each example is played, each table compared."""

import ast
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest
from serving import Server

from app.base.errors import StorageUnavailable
from app.keys import ACCOUNTS
from app.protocol.close import CLOSES
from app.protocol.messages import (
    MAX_ID_LENGTH,
    MAX_TYPE_LENGTH,
    RESERVED_PREFIXES,
    SYSTEM_TYPES,
    MessageError,
)
from app.settings import Settings
from app.streams.base import Refusal
from app.web.problems import HTTP_PROBLEMS
from app.websocket import upgrade
from tests.docs.conversation import Frames, Requests, client_message
from tests.docs.pages import Example, page
from tests.docs.source import called, calls, constant, of_a_log

PAGE = page("docs/protocol.md")
ROLES = {
    ("json", "client"),
    ("json", "server"),
    ("text", "client"),
    ("http", "connect"),
    ("python", "client"),
    ("http", "request"),
    ("http", "answer"),
}
PLAYED = {("json", "client"), ("json", "server"), ("text", "client"), ("http", "connect")}
OPERATORS_ONLY = {"session_not_found", "user_disabled"}
"""Codes of the command line: no HTTP request leads to them."""


def side(example: Example) -> str:
    return example.role.split(" ")[0]


def of(language: str, role: str) -> list[Example]:
    return [one for one in PAGE.examples if (one.language, side(one)) == (language, role)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    options = {"allowed_origins": ("https://app.example",), "close_seconds": 0.3}
    async with Server(tmp_path, **options) as running:
        await running.user("alice")
        yield running


def test_every_example_is_one_that_is_tested() -> None:
    assert {(one.language, side(one)) for one in PAGE.examples} == ROLES


@pytest.mark.parametrize("example", of("json", "client"), ids=lambda one: one.json["type"])
def test_a_clients_example_is_a_message(example: Example) -> None:
    message = client_message(example)
    assert message.type == example.json["type"]
    assert message.id == example.json.get("id")


@pytest.mark.parametrize("example", of("text", "client"))
def test_a_broken_example_is_no_message(example: Example) -> None:
    with pytest.raises(MessageError):
        client_message(example)


async def test_the_frames_are_what_a_server_says(server: Server) -> None:
    names = ("phone", "laptop", "tablet", "tv")
    devices = {name: await server.device(name, "alice") for name in names}
    devices |= dict.fromkeys(("tab-a", "tab-b", "tab-c"), devices["laptop"])
    frames = Frames(server, devices)
    await frames.peer("laptop")
    for example in PAGE.script:
        if (example.language, side(example)) in PLAYED or example.language == "cue":
            await frames.play(example)


async def test_the_requests_get_the_answers_shown(server: Server) -> None:
    requests = Requests(server)
    shown, answers = of("http", "request"), of("http", "answer")
    assert len(shown) == len(answers)
    try:
        for number, (request, answer) in enumerate(zip(shown, answers, strict=True)):
            if "/revoke-others" in request.text:
                alice = await server.user("alice")
                await server.app[ACCOUNTS].issue_token(alice, "96ab3c1e-tablet", "android")
            await requests.play(request, answer)
            if number == 0:
                alice = await server.user("alice")
                await server.app[ACCOUNTS].issue_token(alice, "45c48cce-laptop", "web")
    finally:
        requests.close()


def test_the_close_codes_are_those_of_the_code() -> None:
    rows = PAGE.table("code", "reason", "come back?")
    assert rows == [
        (str(one.code), one.reason, "yes" if one.reconnect else "no", one.meaning) for one in CLOSES
    ]


def test_the_error_codes_are_those_that_a_socket_can_get() -> None:
    raised = [
        constant(call, int(called(call) == "Problem"))
        for call in calls("protocol", "features", "publishing/checks.py")
        if called(call) in ("MessageError", "Note", "error", "Problem") and not of_a_log(call)
    ]
    codes = {code for code in raised if isinstance(code, str)} | stored_in_code()
    assert {row[0] for row in PAGE.table("error code")} == codes


def stored_in_code() -> set[str]:
    """Every code with which a durable message can be refused once it is well-formed."""
    raised = {
        constant(call, 1) for call in calls("streams/committer.py") if called(call) == "Problem"
    }
    fixed = {code for code in raised if isinstance(code, str)}
    return fixed | set(get_args(Refusal)) | {StorageUnavailable().code}


HTTP = (
    "auth",
    "web",
    "requests",
    "websocket",
    "node",
    "publishing/publisher.py",
    "streams/committer.py",
)
"""What answers requests over HTTP that the protocol is about."""


def problems_in_code() -> set[tuple[str, str]]:
    """Every pair of status and code that an HTTP answer can have."""
    found: set[tuple[str, str]] = set()
    for call in calls(*HTTP):
        status, code = constant(call, 0), constant(call, 1)
        if called(call) in ("Problem", "__init__") and isinstance(code, str):
            found.add((str(status), code))
        elif called(call) == "_refusal" and isinstance(status, str):
            found.add(("503", status))
    found.add((str(StorageUnavailable().status), StorageUnavailable().code))
    found |= {(str(status), code) for status, (code, _) in HTTP_PROBLEMS.items()}
    return {(status, code) for status, code in found if code not in OPERATORS_ONLY}


def test_the_problem_codes_are_those_of_the_code() -> None:
    rows = PAGE.table("status", "problem code")
    assert {row[:2] for row in rows} == problems_in_code()
    assert len(rows) == len({row[:2] for row in rows})


def test_refused_upgrades_have_codes_of_the_table() -> None:
    refusals = {row[:2] for row in PAGE.table("status", "code", "why")}
    assert refusals <= problems_in_code()


def test_the_query_parameters_are_those_that_are_read() -> None:
    tree = ast.parse(Path(upgrade.__file__).read_text(encoding="utf-8"))
    [function] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "parse_query"
    ]
    read = {
        constant(node, 0)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and called(node) == "get"
    }
    assert {row[0] for row in PAGE.table("parameter")} == read


def test_each_limit_names_a_setting_and_its_default() -> None:
    fields = Settings.model_fields
    named = 0
    for what, limit, *_ in PAGE.table("what", "limit"):
        for word in f"{what} {limit}".replace("(", " ").replace(")", " ").replace(",", "").split():
            if "_" in word:
                named += 1
                assert f"{fields[word].default:.12g}" in f"{what} {limit}".replace(",", ""), word
    assert named >= 10


@pytest.mark.parametrize("type_", sorted(SYSTEM_TYPES | RESERVED_PREFIXES))
def test_every_type_of_the_servers_own_is_named(type_: str) -> None:
    assert f"`{type_}`" in PAGE.prose


def test_the_lengths_are_those_of_the_code() -> None:
    assert f"up to {MAX_TYPE_LENGTH} characters" in PAGE.prose
    assert f"1 to {MAX_ID_LENGTH} characters" in PAGE.prose
