"""Every refusal as an application/problem+json answer (RFC 9457) with a stable `code`."""

import logging
from http import HTTPStatus
from typing import Any, Final, Literal

import orjson
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler
from pydantic import Field

from app.base.errors import Problem, StorageUnavailable, sentence
from app.keys import STREAMS
from app.requests.reading import listed
from app.web.bodies import Absent, Answer, InvalidBody

PROBLEM_TYPE: Final = "application/problem+json"

logger = logging.getLogger(__name__)

# RFC 9110, sections 15.5.2 and 15.5.22, wants these headers with these two statuses.
_OWED_HEADERS: Final[dict[int, dict[str, str]]] = {
    401: {hdrs.WWW_AUTHENTICATE: "Bearer"},
    426: {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_VERSION: "13",
    },
}

HTTP_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    404: ("not_found", "There is nothing at this path."),
    405: ("method_not_allowed", "This path does not take this method."),
    413: ("too_large", "The body is too large."),
    417: ("expectation_failed", "The only expectation met is 100-continue."),
}
"""Code and detail of what aiohttp itself refuses, by status."""


class FieldFault(Answer):
    """What is wrong with one field, without its value."""

    field: str
    code: str
    detail: str


class ProblemAnswer(Answer):
    """A refusal (RFC 9457). Act on `code`; `detail` is for people and may change."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: str
    retry_after_ms: int | Absent = Field(
        None, description="Milliseconds until it is of use to try again, where that is known."
    )
    errors: list[FieldFault] | Absent = None


def problem_body(problem: Problem) -> bytes:
    """Return the members of RFC 9457, section 3.1, and our `code`, as JSON."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(problem.status),
        "status": problem.status,
        "detail": sentence(problem.detail),
        "code": problem.code,
    }
    if problem.retry_after_ms is not None:
        body["retry_after_ms"] = problem.retry_after_ms
    if isinstance(problem, InvalidBody) and problem.errors:
        body["errors"] = problem.errors
    return orjson.dumps(body)


def problem_response(problem: Problem) -> web.Response:
    """Return the answer to a request that is refused with this problem."""
    headers = dict(_OWED_HEADERS.get(problem.status, {}))
    if problem.retry_after is not None:
        headers[hdrs.RETRY_AFTER] = str(problem.retry_after)
    return web.Response(
        status=problem.status,
        body=problem_body(problem),
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


async def answer_expectation(request: web.Request) -> web.StreamResponse | None:
    """Have the peer of `Expect: 100-continue` send its body; refuse any other expectation.

    aiohttp's own refusal is no problem, and repeats what the peer has sent (RFC 9110, section
    10.1.1).
    """
    if request.version < HttpVersion11:
        return None
    # It is asked before the lines of a field are joined.
    expected = listed(",".join(request.headers.getall(hdrs.EXPECT, ())))
    if set(expected) != {"100-continue"}:
        return problem_response(Problem(417, *HTTP_PROBLEMS[417]))
    try:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    except ConnectionError:
        return _closing(Problem(400, "disconnected", "The client left before its body."))
    # It is no part of the answer, which has yet to begin.
    request.writer.output_size = 0
    return None


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem answer; log what nobody foresaw."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        return _from_http(error)
    except web.RequestPayloadError:
        return _closing(Problem(400, "malformed_request", "The body is not valid HTTP."))
    except ConnectionError:
        # The client left while the handler read its body, so nobody will read the answer.
        return _closing(Problem(400, "disconnected", "The body ended too early."))
    except Exception as error:
        if STREAMS in request.app and request.app[STREAMS].suspicions.note(error):
            # Whoever looks at what is suspicious tells of it once.
            return problem_response(StorageUnavailable())
        logger.exception("%s %s failed", request.method, _route(request))
        return problem_response(
            Problem(500, "internal_error", "The server failed; the reason is in its log.")
        )


def _from_http(error: web.HTTPException) -> web.Response:
    if error.status < 400:
        raise error
    fallback = (_title(error.status).lower().replace(" ", "_"), f"{_title(error.status)}.")
    code, detail = HTTP_PROBLEMS.get(error.status, fallback)
    response = problem_response(Problem(error.status, code, detail))
    if hdrs.ALLOW in error.headers:
        response.headers[hdrs.ALLOW] = error.headers[hdrs.ALLOW]
    return response


def _closing(problem: Problem) -> web.Response:
    response = problem_response(problem)
    response.force_close()
    return response


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _route(request: web.Request) -> str:
    """Return the pattern of the route: unlike the path, nothing in it comes from the client."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "(no route)"
