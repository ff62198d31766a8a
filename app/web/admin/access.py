"""What the routes of administrators share: bodies, searches, and a line in the log."""

import logging
from typing import Final

from aiohttp import web

from app.auth.names import handle_key
from app.base.foreign import handle_shown
from app.base.logs import fields
from app.requests.identity import Admin, authorize_admin
from app.requests.route import ROUTE
from app.storage.directory import Search
from app.web.bodies import B, parse, read_exact
from app.web.parameters import ShortText, WholeNumber

MAX_SEARCH: Final = 64
"""Characters of a search."""

log = logging.getLogger(__name__)


def page_limit(default: int, most: int) -> WholeNumber:
    """Return the parameter that limits a page."""
    what = "How many of one page, at most."
    return WholeNumber(name="limit", what=what, least=1, most=most, default=default)


def search_for(what: str) -> ShortText:
    """Return the parameter that searches; `what` says where it looks."""
    return ShortText(name="search", what=what, most=MAX_SEARCH)


def to_search(text: str) -> Search | None:
    """Return the search for this text; None if it is empty."""
    return Search(text, handle_key(text)) if text else None


async def read_as_admin(request: web.Request, model: type[B]) -> B:
    """Return the body as a `model`, and check once more that an administrator asks.

    Raises what `read_exact`, `parse` and `authorize_admin` do.
    """
    body = parse(model, await read_exact(request))
    # The body may have taken its time, and the right may have gone meanwhile.
    await authorize_admin(request)
    return body


def note(
    request: web.Request,
    admin: Admin,
    /,
    *,
    user: int,
    handle: str | None = None,
    connection: str | None = None,
    disabled: bool | None = None,
    admin_role: bool | None = None,
) -> None:
    """Log in one line who has done what to whom."""
    extra = fields(
        by=admin.name,
        by_handle=handle_shown(admin.handle),
        method=request.method,
        path=request[ROUTE].path,
        user=user,
        handle=handle_shown(handle),
        connection=connection,
        disabled=disabled,
        admin=admin_role,
    )
    log.info("administered", extra=extra)
