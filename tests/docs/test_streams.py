"""docs/streams.md: its limits are those of the code, and the tests that it names exist and hold."""

import ast
import importlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from delivery_peers import append
from serving import Server
from websockets.exceptions import InvalidStatus

from app.keys import ACCOUNTS, NODE
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToUser
from app.settings import Settings
from tests.docs.pages import ROOT, page

PAGE = page("docs/streams.md")
PROMISES = PAGE.table("what is promised", "under which fault")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(tmp_path, close_seconds=0.3) as running:
        yield running


def names_of(path: str) -> set[str]:
    """The functions, classes and names at the top of a module."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {one.id for one in node.targets if isinstance(one, ast.Name)}
    return found


@pytest.mark.parametrize("row", PROMISES, ids=lambda row: row[2].partition("::")[2])
def test_the_test_that_shows_a_promise_exists(row: tuple[str, ...]) -> None:
    promise, fault, shown_by = row
    path, _, name = shown_by.partition("::")
    assert promise
    assert fault
    assert name.lower().startswith("test")
    assert name in names_of(path)


@pytest.mark.parametrize("row", PAGE.table("what", "limit", "where"), ids=lambda row: row[2])
def test_a_limit_is_that_of_the_code(row: tuple[str, ...]) -> None:
    _, limit, where = row
    module, _, name = where.rpartition(".")
    if module:
        value = getattr(importlib.import_module(module), name)
    else:
        value = Settings.model_fields[name].default
    assert f"{value:g}" == limit


async def test_what_one_device_claims_changes_nothing_for_another(server: Server) -> None:
    liar, honest = await server.device("liar"), await server.device("honest")
    node = server.app[NODE]
    to_user = Publication(ToUser(liar.user_id), "note.x", keep=Keep("log"))
    first, second = await append(node, to_user), await append(node, to_user)
    text = node.log.numbering.text
    foreign = ("foreign", first.epoch, f"{first.epoch}.{'0' * 32}", f"{text}0", f"{text}.{text}")
    claims = [f"epoch={epoch}&offset=1" for epoch in foreign]
    for claim in (*claims, f"epoch={text}&offset=9000", f"epoch={text}&offset={2**63}"):
        peer = await server.open(liar, f"?{claim}")
        start = (await peer.receive())["payload"]["resume"]
        assert start["outcome"] == "reset"
        await peer.send("ack", {"offset": 9000})
    peer = await server.open(honest, f"?epoch={text}&offset={first.offset}")
    assert (await peer.receive())["payload"]["resume"]["outcome"] == "resumed"
    assert (await peer.receive())["offset"] == second.offset
    assert (await append(node, to_user)).offset == second.offset + 1


async def test_a_revoked_device_gets_nothing_of_what_waits_for_it(server: Server) -> None:
    phone, laptop = await server.device("phone"), await server.device("laptop")
    stored = await append(
        server.app[NODE], Publication(ToUser(phone.user_id), "note.x", keep=Keep("log"))
    )
    live = await server.connect(phone)
    server.end(await server.app[ACCOUNTS].revoke_device(phone.device_id))
    assert await live.closed() == (4502, "revoked")
    with pytest.raises(InvalidStatus) as refusal:
        await server.open(phone, f"?epoch={stored.epoch}&offset=0")
    assert refusal.value.response.status_code == 401
    other = await server.open(laptop, f"?epoch={stored.epoch}&offset=0")
    assert (await other.receive())["payload"]["resume"]["outcome"] == "resumed"
    assert (await other.receive())["offset"] == stored.offset
