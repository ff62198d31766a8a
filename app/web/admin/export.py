"""Everything that is kept of one user, for administrators to hand out."""

import asyncio
from tempfile import TemporaryFile
from typing import IO, Any, Final

from aiohttp import web

from app.auth.account_writes import user_not_found
from app.base.errors import StorageUnavailable
from app.keys import DATABASE, EXPORTS, SETTINGS
from app.requests.identity import Admin
from app.requests.route import JSON, Route
from app.requests.rules import ADMINISTRATOR
from app.streams.exporting import Exported, export_user
from app.web.admin.access import note
from app.web.bodies import Answer
from app.web.parameters import PathId

PIECE_BYTES: Final = 262_144
"""Of a document, sent at once."""


class UserExportAnswer(Answer):
    """Everything that is kept of a user; docs/operations.md has what each key means."""

    format: str
    version: int
    exported_at: int
    server_version: str
    user: dict[str, Any]
    devices: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    epoch: str
    floor: int
    cursors: list[dict[str, Any]]
    message_ids: list[dict[str, Any]]
    latest: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    damaged_messages: list[dict[str, Any]]


_USER_ID: Final = PathId(what="The user's id.", missing=user_not_found)


async def export(request: web.Request, admin: Admin) -> web.StreamResponse:
    """Answer 200 with the document, which is written to the disk first.

    A snapshot that lasted as long as somebody reads would keep the write-ahead log growing.
    """
    user_id = _USER_ID.of(request)
    try:
        with TemporaryFile(dir=request.app[SETTINGS].data_dir) as file:
            async with request.app[EXPORTS]:
                exported = await asyncio.to_thread(_write, request, user_id, file)
            note(request, admin, user=user_id)
            return await _send(request, user_id, file, exported.bytes)
    except ConnectionError:
        raise
    except OSError:
        raise StorageUnavailable("There is no place on the disk for the export.") from None


def _write(request: web.Request, user_id: int, file: IO[bytes]) -> Exported:
    exported = export_user(request.app[DATABASE].path, user_id, file.write)
    file.seek(0)
    return exported


async def _send(
    request: web.Request, user_id: int, file: IO[bytes], size: int
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": JSON,
            "Content-Length": str(size),
            "Content-Disposition": f'attachment; filename="user-{user_id}.json"',
        }
    )
    await response.prepare(request)
    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
        await response.write(piece)
    await response.write_eof()
    return response


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/admin/users/{id}/export",
        handler=ADMINISTRATOR.before(export),
        head=False,
        tag="Administration",
        summary="Export everything that is kept of a user",
        what="As of one instant. Nothing in it lets anybody sign in.",
        parameters=(_USER_ID,),
        answer=UserExportAnswer,
        problems=("404 user_not_found", "503 storage_unavailable"),
    ),
)
