"""Access rules: who may use a route, checked in one place before its handler runs.

A row of a table of routes takes no bare function, only a handler behind a rule:

    SESSION.before(list_devices)

A rule hands the handler who asks. So a handler that works for an API key fits behind no rule that
asks for a session, and mypy says so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler

from app.auth.peer import Peer
from app.auth.tokens import Identity
from app.base.errors import Problem
from app.keys import NODE
from app.requests.identity import Admin, Scope, authenticate, authorize, authorize_admin
from app.requests.peer import request_peer
from app.storage.api_keys import ApiKey

Credential = Literal["none", "session", "key", "admin", "metrics"]
"""What a request has to present, as the documentation names it."""

Who = TypeVar("Who")


@dataclass(frozen=True, slots=True)
class AccessRule(Generic[Who]):
    """Who may use a route.

    `check` returns who asks. To refuse, it raises Problem or returns an answer of its own.
    `refusals` names these problems for the documentation, as `status code`.
    """

    credential: Credential
    check: Callable[[web.Request], Awaitable[Who | web.StreamResponse]]
    refusals: tuple[str, ...] = ()

    def before(
        self, handler: Callable[[web.Request, Who], Awaitable[web.StreamResponse]]
    ) -> "Checked":
        """Return the handler behind this rule, which hands it the request and who asks."""

        async def run(request: web.Request) -> web.StreamResponse:
            who = await self.check(request)
            if isinstance(who, web.StreamResponse):
                return who
            return await handler(request, who)

        return Checked(self, run)


@dataclass(frozen=True, slots=True)
class Checked:
    """A handler that answers only those whom its rule lets in.

    `AccessRule.before` makes it. Code that makes one directly promises that `run` itself checks.
    """

    rule: AccessRule[Any]
    run: Handler


async def _anyone(request: web.Request) -> Peer:
    return request_peer(request)


REFUSED_SECONDS: Final = 1.0
"""How long the refusal of a change above the limit takes: whoever asks again as soon as it comes
would keep the server busy with refusals alone."""


async def _writing(request: web.Request) -> Identity:
    identity = await authenticate(request)
    try:
        request.app[NODE].allowances.charge(identity.user_id, "writes")
    except Problem:
        await asyncio.sleep(REFUSED_SECONDS)
        raise
    return identity


def _key_with(scope: Scope) -> AccessRule[ApiKey]:
    return AccessRule("key", partial(authorize, scope=scope), _NOT_ALLOWED)


_SIGNED_OUT: Final = ("401 unauthorized", "429 too_many_devices")
_NOT_ALLOWED: Final = ("401 unauthorized", "403 forbidden")

OPEN: Final[AccessRule[Peer]] = AccessRule("none", _anyone)
"""For anyone; the handler gets the peer."""

SESSION: Final[AccessRule[Identity]] = AccessRule("session", authenticate, _SIGNED_OUT)
"""For signed-in users, by header or by cookie."""

WRITING_SESSION: Final[AccessRule[Identity]] = AccessRule(
    "session", _writing, (*_SIGNED_OUT, "429 rate_limited")
)
"""For signed-in users who change something; each may do so only so often.

Whoever floods a user's server with their stolen session must not keep them from ending it: signing
out and changing the password have rules of their own.
"""

SENDING_KEY: Final = _key_with("send")
"""For backends whose API key has the scope `send`."""

READING_KEY: Final = _key_with("read")
"""For backends whose API key has the scope `read`."""

ADMINISTRATOR: Final[AccessRule[Admin]] = AccessRule(
    "admin", authorize_admin, (*_SIGNED_OUT, "403 forbidden")
)
"""For users with the role `admin`, and for API keys with that scope."""
