"""JSON answers."""

from typing import Any

import orjson
from aiohttp import web


def json_response(value: Any, *, status: int = 200) -> web.Response:
    """Return `value` as a JSON answer."""
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")
