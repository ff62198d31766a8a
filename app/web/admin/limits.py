"""Who has met a limit of late, for administrators."""

from typing import Any, Final

from aiohttp import web
from pydantic import Field

from app.keys import DATABASE, NODE
from app.node.limited import Limit, Met
from app.requests.identity import Admin
from app.requests.route import Route
from app.requests.rules import ADMINISTRATOR
from app.storage.directory import UserName, user_names
from app.storage.schema import milliseconds
from app.web.admin.access import page_limit
from app.web.bodies import Absent, Answer, json_response, present


class MetLimitAnswer(Answer):
    """A limit that a user has met, once or again and again."""

    user_id: int
    user_handle: str | Absent = None
    sub: str | Absent = Field(None, description="Of a user from outside.")
    limit: Limit
    count: int = Field(description="How often since `began_at`.")
    began_at: int = Field(description="Begins anew once a minute has passed without it.")
    last_at: int


class MetLimitsAnswer(Answer):
    """The limits that users have met in the last hour, the newest first."""

    limits: list[MetLimitAnswer]


_LIMIT: Final = page_limit(default=50, most=200)


async def list_limits(request: web.Request, admin: Admin) -> web.Response:
    """Answer 200 with who has met which limit in the last hour."""
    recent = request.app[NODE].allowances.limited.recent()[: _LIMIT.of(request)]
    async with request.app[DATABASE].read() as connection:
        names = await user_names(connection, {met.user_id for met in recent})
    return json_response({"limits": [_view(met, names.get(met.user_id)) for met in recent]})


def _view(met: Met, user: UserName | None) -> dict[str, Any]:
    return {
        "user_id": met.user_id,
        **present(user_handle=user and user.handle, sub=user and user.sub),
        "limit": met.limit,
        "count": met.count,
        "began_at": milliseconds(met.since),
        "last_at": milliseconds(met.last),
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/admin/limits",
        handler=ADMINISTRATOR.before(list_limits),
        tag="Administration",
        summary="List who has met a limit in the last hour",
        parameters=(_LIMIT,),
        answer=MetLimitsAnswer,
        problems=("400 invalid_parameter",),
    ),
)
