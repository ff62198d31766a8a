"""Protection against CSRF: a page of another origin can't write with the cookie.

The headers alone tell. Clients that are no browsers send none of them, and no page can forge their
requests.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from app.auth.peer import origin_verdict
from app.auth.tokens import Via
from app.base.errors import Problem
from app.requests.identity import presented_token
from app.requests.peer import SEC_FETCH_SITE, request_origin, request_peer
from app.requests.route import LOGIN

SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
"""Methods that change nothing (RFC 9110, section 9.2.1)."""

_JSON_TYPES: Final = frozenset({"application/json", "application/problem+json", "text/json"})
_WEIGHT: Final = re.compile(r"(?:^|;)\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|$)")

_AHEAD: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")
"""Headers by which a browser says that it fetches ahead, before anybody asked; each of its time."""

_FOREIGN_SITES: Final = frozenset({"cross-site", "same-site"})


@web.middleware
async def refuse_foreign_writes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 403 to a write of another origin's page that only the cookie authenticates."""
    # Signing in asks for a password, not for the cookie.
    if (
        request.method not in SAFE_METHODS
        and request.path != LOGIN
        and is_foreign(request)
        and await token_via(request) == "cookie"
    ):
        raise Problem(
            403, "forbidden_origin", "The cookie does not count in requests of other origins."
        )
    return await handler(request)


async def token_via(request: web.Request) -> Via | None:
    """Return which way a token came, were the page one of ours; None if there is no token."""
    presented = await presented_token(request, "same")
    return presented[1] if presented is not None else None


def is_foreign(request: web.Request) -> bool:
    """Tell whether a browser says that a page of another origin makes the request."""
    sites = request.headers.get(SEC_FETCH_SITE, "").lower().replace(" ", "").split(",")
    return not _FOREIGN_SITES.isdisjoint(sites) or request_origin(request) in ("allowed", "refused")


async def may_sign_out_by_get(request: web.Request) -> bool:
    """Tell whether this GET may end the session: no other site can have triggered it.

    True with a token in `Authorization`; with the cookie when the browser says that one of our
    pages asks; and with the cookie when no header tells, if a program asks: it takes anything, or
    JSON. A page, an image or a style of another site asks for what it is. With the cookie, what a
    browser fetches ahead never signs out: nobody has asked for it yet.
    """
    via = await token_via(request)
    if via != "cookie":
        return via is not None
    if any(name in request.headers for name in _AHEAD):
        return False
    signs = _same_origin_signs(request)
    if signs:
        return all(signs)
    return _accepts_as_programs_do(request.headers.getall(hdrs.ACCEPT, ()))


def _same_origin_signs(request: web.Request) -> list[bool]:
    """Return for each header that tells a request's origin whether that is ours."""
    headers = request.headers
    signs = []
    if SEC_FETCH_SITE in headers:
        signs.append(headers[SEC_FETCH_SITE].lower() == "same-origin")
    elif any(name.lower().startswith("sec-fetch-") for name in headers):
        # A browser sends them all or none: on the way, the one that tells was lost.
        signs.append(False)
    if hdrs.ORIGIN in headers:
        signs.append(request_origin(request) == "same")
    if hdrs.REFERER in headers:
        origin = _origin_of(headers[hdrs.REFERER])
        signs.append(origin_verdict(origin, request_peer(request), ()) == "same")
    return signs


def _accepts_as_programs_do(lines: Sequence[str]) -> bool:
    """Tell whether these lines of Accept (RFC 9110, section 12.5.1) are none, `*/*`, or name JSON.

    Browsers end their lists for images and styles with `*/*`, so that counts alone only.
    """
    ranges = [one.strip() for one in ",".join(lines).lower().split(",") if one.strip()]
    wanted = {_media_type(one) for one in ranges} - {None}
    return not ranges or wanted == {"*/*"} or not wanted.isdisjoint(_JSON_TYPES)


def _media_type(media_range: str) -> str | None:
    """Return the type without its parameters; None if the range says that it is not wanted."""
    name, _, parameters = media_range.partition(";")
    weight = _WEIGHT.search(parameters)
    return None if weight and not float(weight[1]) else name.strip()


def _origin_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "null"
    return f"{parts.scheme}://{parts.netloc}"
