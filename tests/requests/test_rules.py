"""A rule stands before its handler."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from app.base.errors import Problem
from app.requests.rules import OPEN, AccessRule

REQUEST = make_mocked_request("GET", "/")


class Called:
    """A handler that remembers for whom it ran."""

    def __init__(self) -> None:
        self.whom: list[str] = []

    async def __call__(self, request: web.Request, who: str) -> web.Response:
        self.whom.append(who)
        return web.Response(text=f"hello {who}")


async def test_the_handler_is_given_who_asks() -> None:
    async def ada(request: web.Request) -> str:
        return "ada"

    handler = Called()
    response = await AccessRule("session", ada).before(handler).run(REQUEST)
    assert (handler.whom, response.status) == (["ada"], 200)


async def test_a_rule_that_raises_lets_nobody_in() -> None:
    async def nobody(request: web.Request) -> str:
        raise Problem(401, "unauthorized", "No.")

    handler = Called()
    with pytest.raises(Problem, match="No"):
        await AccessRule("session", nobody).before(handler).run(REQUEST)
    assert handler.whom == []


async def test_a_rule_that_answers_by_itself_lets_nobody_in() -> None:
    refusal = web.Response(status=401)

    async def answered(request: web.Request) -> str | web.StreamResponse:
        return refusal

    handler = Called()
    assert await AccessRule("session", answered).before(handler).run(REQUEST) is refusal
    assert handler.whom == []


def test_a_checked_handler_knows_its_rule() -> None:
    assert OPEN.before(Called()).rule is OPEN
