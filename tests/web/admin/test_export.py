"""What an administrator may download of a user, over HTTP."""

from app.web.admin.export import UserExportAnswer
from tests.web.admins import Desk


async def test_everything_of_a_user_is_one_document_to_be_saved(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    signed_in = await desk.api.sign_in(user_handle="bob")
    response = await desk.ask("GET", f"/users/{bob}/export")
    assert response.status == 200
    assert response.headers["Content-Disposition"] == f'attachment; filename="user-{bob}.json"'
    text = await response.text()
    assert int(response.headers["Content-Length"]) == len(text.encode())
    found = UserExportAnswer.model_validate_json(text)
    assert (found.user["handle"], len(found.devices), len(found.sessions)) == ("bob", 1, 1)
    assert signed_in.by_header["Authorization"].removeprefix("Bearer ") not in text


async def test_whoever_is_no_user_or_no_administrator_gets_nothing(desk: Desk) -> None:
    assert await desk.refused("GET", "/users/999/export") == (404, "user_not_found")
    await desk.api.add_user("bob")
    bob = Desk(desk.api, await desk.api.sign_in(user_handle="bob"))
    status, _ = await bob.refused("GET", f"/users/{desk.user_id}/export")
    assert status == 403
