"""The HTTP interface describes itself: an OpenAPI document for programs, a page for people."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from aiohttp import web

from app.auth.peer import Peer
from app.requests.route import Route
from app.requests.rules import OPEN
from app.web.bodies import json_response
from app.web.openapi import make_document
from app.web.reference import HEADERS, make_page

_OPENAPI: Final = "/v1/openapi.json"


class Documentation:
    """The document and the page of these routes, each made when somebody first asks for it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    @cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        return make_document(self._routes)

    @cached_property
    def page(self) -> str:
        """The document as HTML."""
        return make_page(self.document, _OPENAPI)


DOCUMENTATION: Final = web.AppKey("documentation", Documentation)


async def openapi(request: web.Request, peer: Peer) -> web.Response:
    """Answer 200 with the document."""
    return json_response(request.app[DOCUMENTATION].document)


async def reference(request: web.Request, peer: Peer) -> web.Response:
    """Answer 200 with the page."""
    page = request.app[DOCUMENTATION].page
    return web.Response(text=page, content_type="text/html", headers=HEADERS)


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path=_OPENAPI,
        handler=OPEN.before(openapi),
        tag="Server",
        summary="This document",
    ),
    Route(
        method="GET",
        path="/v1/docs",
        handler=OPEN.before(reference),
        tag="Server",
        summary="This document, to read",
        media="text/html",
    ),
)
