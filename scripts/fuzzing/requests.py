"""HTTP requests of any bytes: from the operations that OpenAPI describes, then made odd.

Schemathesis makes cases of each operation's schema, valid ones and others; the dice then choose who
asks, exchange ids for real ones, and break what no library would send: the method, the path, the
headers, the length of the body.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from app.requests.route import Route
from app.web.openapi import make_document

CASES: Final = 40
"""Requests made of an operation at a time."""

_METHODS: Final = (
    "PUT",
    "TRACE",
    "OPTIONS",
    "HEAD",
    "get",
    "FOO",
    "PATCH",
    "DELETE",
    "POST",
    "GET",
)
_PATHS: Final = (
    *("//", "/v1", "/v1/", "/v1/users/x/stream", "/%00", "/%", "/%ff%fe", "/../etc/passwd", "*"),
    *("/v1/devices/0", "/v1/devices/-1", "/v1/devices/99999999999999999999", "/v1/devices/1.0"),
    *("http://other.example/v1/devices", "/v1/devices?", "/v1/devices?%zz=%", "/assets/%2e%2e/x"),
    *("/v1/devices#x", "/v1/devices\x7f", "/" + "a" * 5000, "/v1/openapi.json?" + "a=1&" * 500),
)
_HEADERS: Final = (
    *("Accept: text/html;q=x", "Accept-Encoding: gzip;q=0, *;q=0.1", "Origin: null"),
    *("Origin: https://other.example", "Sec-Fetch-Site: cross-site", "Cookie: session_token=x"),
    *(
        "Cookie: a; b==; session_token",
        "Authorization:",
        "Authorization: Bearer",
        "Range: bytes=9-",
    ),
    *("Authorization: Basic eDp5", "Authorization: Bearer a.b.c", "If-None-Match: *", "Expect: x"),
    *("Idempotency-Key:", "Idempotency-Key: \x01", "X-Forwarded-For: 1.2.3.4, x", "Upgrade: h2c"),
    *('Forwarded: for="[::1";proto=', "Content-Encoding: gzip", "Content-Type: text/xml"),
    *("Content-Type: application/json; charset=utf-16", "Content-Type: application/json;;=,"),
    *("Host: a b", "Host: x\r\nHost: y", "Connection: close, x", "X-é: é", "X-Long: " + "x" * 9000),
    *("Access-Control-Request-Method: POST", "Content-Language: \xff", "If-Modified-Since: now"),
)
_BODIES: Final = (
    *(b"", b"{", b"null", b"[]", b'"x"', b"\xff", b'{"a":1}' * 3, b"[" * 3000, b"NaN"),
    *(b'{"handle":"\\ud800"}', b'{"payload":99999999999999999999}', b"\xef\xbb\xbf{}", b"\0" * 50),
    *(
        b"x" * 20_000,
        b'{"type":"a.b","to":{"user":1},"payload":' + b"[" * 1500 + b"]" * 1500 + b"}",
    ),
)


@dataclass(slots=True)
class Request:
    """What is written; `route` is the row by which it must be answered, if the path is its own."""

    method: str
    target: str
    headers: list[str]
    body: bytes
    route: Route | None
    label: str
    whole: bool = True
    """False if the server may wait for more, or take it for no request."""

    def data(self) -> bytes:
        """Return the bytes."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *self.headers, "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + self.body


@dataclass(slots=True)
class Credentials:
    """Headers by which requests may be let in, or not; and ids that exist."""

    headers: Sequence[str] = ()
    ids: Sequence[int] = ()
    connections: Sequence[str] = ()


@dataclass(slots=True)
class Catalogue:
    """All operations, each with the row of its route."""

    routes: Sequence[Route]
    operations: list[tuple[Route, Any]] = field(init=False)

    def __post_init__(self) -> None:
        document = json.loads(json.dumps(make_document(self.routes)))
        rows = {(route.method, route.path): route for route in self.routes}
        schema = schemathesis.openapi.from_dict(document)
        found: list[Any] = [cast(Any, result).ok() for result in schema.get_all_operations()]
        self.operations = [
            (rows[operation.method.upper(), operation.path], operation) for operation in found
        ]

    def requests(self, dice: Random, credentials: Callable[[], Credentials]) -> Iterator[Request]:
        """Yield requests of one operation after the other, in any order, for ever."""
        while True:
            for route, operation in dice.sample(self.operations, len(self.operations)):
                mode = dice.choice([GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
                for case in _cases(operation, mode, dice.getrandbits(32)):
                    yield _request(case, route, dice, credentials())


def _cases(operation: Any, mode: GenerationMode, number: int) -> list[Any]:
    """Return cases of an operation; there are fewer where it leaves little to choose."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case.as_transport_kwargs())

    try:
        collect()
    except Exception:
        if mode is GenerationMode.POSITIVE:
            raise
    return found


def _request(case: dict[str, Any], route: Route, dice: Random, known: Credentials) -> Request:
    """Return the request of a case, asked by somebody, and odd in one way perhaps."""
    body = _body(case)
    target = _target(case, route, dice, known)
    made = Request(
        case["method"], target, _headers(case, dice, known), body, route, str(route.path)
    )
    if dice.random() < 0.3:
        dice.choice(_ODD)(made, dice)
    # Two of them would be another oddity.
    lengths = [
        one for one in made.headers if one.lower().startswith(("content-length", "transfer"))
    ]
    if not lengths and (made.body or made.method not in ("GET", "HEAD", "DELETE")):
        made.headers.append(f"Content-Length: {len(made.body)}")
    return made


def _body(case: dict[str, Any]) -> bytes:
    if "json" in case:
        return json.dumps(case["json"]).encode("utf-8", "replace")
    data = case.get("data") or b""
    return data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")


def _target(case: dict[str, Any], route: Route, dice: Random, known: Credentials) -> str:
    url = str(case["url"])
    if "{id}" in route.path and dice.random() < 0.6:
        ids = known.connections if "/connections/" in route.path else known.ids
        if ids:
            url = route.path.replace("{id}", str(dice.choice(ids)))
    params = case.get("params") or {}
    query = urlencode(params, doseq=True, errors="replace") if params else ""
    return quote(url, safe="/%:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")


def _headers(case: dict[str, Any], dice: Random, known: Credentials) -> list[str]:
    headers = ["Host: 127.0.0.1"]
    own = {name.lower(): str(value) for name, value in (case.get("headers") or {}).items()}
    for name, value in own.items():
        usable = value.isprintable() and value.isascii()
        if name in ("content-type", "idempotency-key") and usable:
            headers.append(f"{name}: {value}")
    if "json" in case and "content-type" not in own:
        headers.append("Content-Type: application/json")
    if dice.random() < 0.85:
        headers.append(dice.choice(known.headers))
    return headers


# What makes a request odd


def _other_method(one: Request, dice: Random) -> None:
    one.method, one.route = dice.choice(_METHODS), None


def _other_path(one: Request, dice: Random) -> None:
    one.target, one.route = dice.choice(_PATHS), None


def _more_headers(one: Request, dice: Random) -> None:
    one.headers.extend(dice.sample(_HEADERS, dice.randint(1, 3)))
    one.route = None


def _other_body(one: Request, dice: Random) -> None:
    one.body = dice.choice(_BODIES)
    if dice.random() < 0.7:
        one.headers = [line for line in one.headers if not line.lower().startswith("content-t")]
        one.headers.append("Content-Type: application/json")
    if one.route is not None and one.route.body is None:
        one.route = None


def _other_length(one: Request, dice: Random) -> None:
    odd = [
        *(
            "Content-Length: 99999999",
            "Content-Length: -1",
            "Content-Length: x",
            "Content-Length: 5",
        ),
        *("Content-Length: 1\r\nContent-Length: 2", "Transfer-Encoding: chunked"),
        *("Transfer-Encoding: x", "Transfer-Encoding: chunked\r\nContent-Length: 3"),
    ]
    one.headers.append(dice.choice(odd))
    if "chunked" in one.headers[-1]:
        one.body = dice.choice(
            [b"0\r\n\r\n", b"5\r\n{}", b"x\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"-1\r\n"]
        )
    one.route, one.whole = None, False


def _cut(one: Request, dice: Random) -> None:
    one.headers.append(f"Content-Length: {len(one.body) + 5}")
    one.route, one.whole = None, False


_ODD: Final = (_other_method, _other_path, _more_headers, _other_body, _other_length, _cut)
