"""Every route, as it is documented: what it takes, what it answers, how it refuses."""

from typing import Final

from app.protocol.position import MAX_OFFSET
from app.web import answers, paths
from app.web.admin.endpoints import ADMIN
from app.web.bodies import LoginBody, PasswordBody, RenameBody
from app.web.endpoint import DEVICE_ID, KEY, SESSION, USER_ID, WRITE, Endpoint, Parameter
from app.web.message_bodies import BatchBody, MessageBody
from app.web.users import DEFAULT_ROWS, MAX_ROWS

_MESSAGE = (
    "400 invalid_message",
    "404 user_not_found",
    "404 device_not_found",
    "409 too_many_keys",
    "409 id_conflict",
    "503 overloaded",
    "503 storage_unavailable",
)

_PAGE = (
    USER_ID,
    Parameter(
        name="after",
        place="query",
        what="The offset after which the page begins.",
        schema={"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
    ),
    Parameter(
        name="limit",
        place="query",
        what="Messages of one page, at most.",
        schema={"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_ROWS},
    ),
)

_IDEMPOTENCY = Parameter(
    name="Idempotency-Key",
    place="header",
    what="The same as `message_id` in the body.",
    schema={"type": "string", "minLength": 1},
)

_BACKEND = (
    Endpoint(
        method="POST",
        path=paths.MESSAGES,
        tag="Backend",
        summary="Send a message",
        what="Needs the scope `send`. A message with `store` is on disk when the answer comes.",
        credential="key",
        parameters=(_IDEMPOTENCY,),
        body=MessageBody,
        answer=answers.SentAnswer,
        problems=(*KEY, *_MESSAGE),
    ),
    Endpoint(
        method="POST",
        path=paths.BATCH,
        tag="Backend",
        summary="Send many messages",
        what="Needs the scope `send`. Each message has its own outcome, in the order of the list: "
        "one that is refused holds up no other. Kept ones get their offsets in that order.",
        credential="key",
        body=BatchBody,
        answer=answers.BatchAnswer,
        problems=KEY,
    ),
    Endpoint(
        method="GET",
        path=paths.USER_STREAM,
        tag="Backend",
        summary="Read a user's stream",
        what="Needs the scope `read`. What is kept for the user and for everyone, oldest first.",
        credential="key",
        parameters=_PAGE,
        answer=answers.StreamAnswer,
        problems=(
            *KEY,
            "400 invalid_parameter",
            "404 user_not_found",
            "503 storage_unavailable",
        ),
    ),
    Endpoint(
        method="GET",
        path=paths.USER_DEVICES,
        tag="Backend",
        summary="List a user's devices",
        what="Needs the scope `read`.",
        credential="key",
        parameters=(USER_ID,),
        answer=answers.UserDevicesAnswer,
        problems=(*KEY, "404 user_not_found"),
    ),
)

_AUTH = (
    Endpoint(
        method="POST",
        path=paths.LOGIN,
        tag="Sessions",
        summary="Sign in",
        what="A page of this origin gets the cookie `session_token` too.",
        body=LoginBody,
        status=201,
        answer=answers.SignedInAnswer,
        problems=(
            "400 invalid_device",
            "401 invalid_credentials",
            "429 too_many_attempts",
            "503 busy",
        ),
    ),
    Endpoint(
        method="GET",
        path=paths.SESSION,
        tag="Sessions",
        summary="Who am I",
        credential="session",
        answer=answers.WhoAnswer,
        problems=(*SESSION, "503 draining"),
    ),
    Endpoint(
        method="POST",
        path=paths.LOGOUT,
        tag="Sessions",
        summary="Sign out",
        what="The session that is presented is over, and its sockets close.",
        credential="session",
        answer=answers.SignedOutAnswer,
        problems=(*SESSION, *WRITE),
    ),
    Endpoint(
        method="GET",
        path=paths.LOGOUT,
        tag="Sessions",
        summary="Sign out, as older clients do",
        what="Only where no other site can have caused it; else 405.",
        credential="session",
        answer=answers.SignedOutAnswer,
        problems=(*SESSION, "405 method_not_allowed"),
    ),
    Endpoint(
        method="POST",
        path=paths.CHANGE,
        tag="Sessions",
        summary="Change the password",
        what="Every other session of the user is over.",
        credential="session",
        body=PasswordBody,
        status=204,
        problems=(
            *SESSION,
            *WRITE,
            "400 wrong_password",
            "400 password_too_short",
            "400 password_too_long",
            "400 no_password",
            "429 too_many_attempts",
            "503 busy",
        ),
    ),
)

_DEVICES = (
    Endpoint(
        method="GET",
        path=paths.DEVICES,
        tag="Devices",
        summary="List my devices",
        credential="session",
        answer=answers.DeviceListAnswer,
        problems=SESSION,
    ),
    Endpoint(
        method="PATCH",
        path=paths.DEVICE,
        tag="Devices",
        summary="Rename a device",
        credential="session",
        parameters=(DEVICE_ID,),
        body=RenameBody,
        answer=answers.DeviceAnswer,
        problems=(*SESSION, *WRITE, "404 device_not_found"),
    ),
    Endpoint(
        method="DELETE",
        path=paths.DEVICE,
        tag="Devices",
        summary="Revoke a device",
        what="Its sessions are over, and its sockets close.",
        credential="session",
        parameters=(DEVICE_ID,),
        status=204,
        problems=(*SESSION, *WRITE, "404 device_not_found"),
    ),
    Endpoint(
        method="POST",
        path=paths.REVOKE_OTHERS,
        tag="Devices",
        summary="Revoke all my other devices",
        what="Their sessions are over, and their sockets close.",
        credential="session",
        answer=answers.RevokedAnswer,
        problems=(*SESSION, *WRITE),
    ),
    Endpoint(
        method="GET",
        path=paths.SOCKET,
        tag="Devices",
        summary="Open a WebSocket",
        what="docs/protocol.md says what goes over it.",
        credential="session",
        status=101,
        problems=(
            *SESSION,
            "400 device_required",
            "400 invalid_parameter",
            "403 forbidden_origin",
            "426 upgrade_required",
            "503 draining",
            "503 overloaded",
            "503 too_many_connections",
        ),
    ),
)

_SERVER = (
    Endpoint(
        method="GET",
        path=paths.HEALTH,
        tag="Server",
        summary="Is it alive",
        answer=answers.StatusAnswer,
    ),
    Endpoint(
        method="GET",
        path=paths.READY,
        tag="Server",
        summary="Does it take new work",
        answer=answers.StatusAnswer,
        problems=("503 draining",),
    ),
    Endpoint(
        method="GET",
        path=paths.METRICS,
        tag="Server",
        summary="Counts for Prometheus",
        what="Open to this very machine; for others with the metrics token.",
        credential="metrics",
        media="text/plain",
        problems=("403 forbidden",),
    ),
    Endpoint(
        method="GET",
        path=paths.OPENAPI,
        tag="Server",
        summary="This document",
    ),
    Endpoint(
        method="GET",
        path=paths.REFERENCE,
        tag="Server",
        summary="This document, to read",
        media="text/html",
    ),
    Endpoint(
        method="GET",
        path=paths.INDEX,
        tag="Server",
        summary="The web app, or a page that says that the server runs",
        media="text/html",
    ),
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *_BACKEND,
    *_AUTH,
    *_DEVICES,
    *ADMIN,
    *_SERVER,
)
