"""What a request is made of before anybody reads it: header fields in one line each, and UTF-8.

RFC 9110, section 5.3, lets a sender or a proxy spread a header field over several lines, and
aiohttp's `get` sees the first line alone.
"""

from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import hdrs, web
from multidict import CIMultiDict

from app.base.errors import Problem

_APART: Final = frozenset({"authorization", "idempotency-key"})
"""Fields whose lines are read one by one: a proxy's credentials may stand beside ours, and of two
keys neither counts."""

_COOKIE: Final = hdrs.COOKIE.lower()


def with_whole_fields(request: web.Request) -> web.Request:
    """Return the request with each header field in one line, joined as RFC 9110, 5.3, says.

    A field that may occur only once, as Origin, then has a value that no check takes. Raises
    Problem 400 `malformed_request` for a key that is not UTF-8.
    """
    headers = request.headers
    if len({name.lower() for name in headers}) == len(headers):
        return request
    whole: CIMultiDict[str] = CIMultiDict()
    for name in dict.fromkeys(name.lower() for name in headers):
        lines = [_in_utf8(name, line) for line in headers.getall(name)]
        if name in _APART:
            whole.extend((name, line) for line in lines)
        else:
            # Cookies are joined otherwise (RFC 9113, section 8.2.3).
            whole[name] = ("; " if name == _COOKIE else ", ").join(lines)
    return request.clone(headers=whole)


def with_one_protocol(request: web.Request) -> web.Request:
    """Return the request with `Upgrade: websocket` if that is one of several protocols offered.

    A client may offer a list (RFC 9110, section 7.8), and aiohttp takes this one alone.
    """
    offered = request.headers.get(hdrs.UPGRADE, "")
    if "," not in offered or "websocket" not in listed(offered):
        return request
    # A copy has room for UTF-8 alone.
    whole = ((name, _in_utf8(name.lower(), line)) for name, line in request.headers.items())
    headers = CIMultiDict(whole)
    headers[hdrs.UPGRADE] = "websocket"
    return request.clone(headers=headers)


def listed(value: str) -> list[str]:
    """Return the elements of a list in a header field, in lower case (RFC 9110, section 5.6.1)."""
    return [element for part in value.lower().split(",") if (element := part.strip())]


def _in_utf8(name: str, line: str) -> str:
    """Return the line with a mark in the place of each byte that is not UTF-8."""
    if line.isascii():
        return line
    readable = line.encode(errors="replace").decode()
    if readable != line and name == "idempotency-key":
        # Another key would be another message.
        raise Problem(400, "malformed_request", "The Idempotency-Key has to be UTF-8.")
    return readable


def refuse_other_encodings(request: web.Request) -> None:
    """Raise Problem 400 `malformed_request` for a path or a query that is not UTF-8."""
    url = request.rel_url
    if not (_is_text(url.raw_path) and _is_text(url.raw_query_string)):
        raise Problem(400, "malformed_request", "The path and the query have to be UTF-8.")


def _is_text(quoted: str) -> bool:
    if "%" not in quoted:
        return True
    try:
        unquote_to_bytes(quoted).decode()
    except UnicodeDecodeError:
        return False
    return True
