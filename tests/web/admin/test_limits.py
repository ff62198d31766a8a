"""Who is at a limit, as administrators see it."""

from app.keys import NODE
from app.web.admin.limits import MetLimitsAnswer
from tests.web.admins import Desk


async def test_whoever_has_met_a_limit_is_shown_with_which_how_often_and_since_when(
    desk: Desk,
) -> None:
    assert await desk.get("/limits") == {"limits": []}
    bob = await desk.api.add_user("bob")
    limited = desk.api.app[NODE].allowances.limited
    limited.note(bob, "bytes")
    limited.note(desk.user_id, "connection")
    limited.note(bob, "bytes")
    found = await desk.get("/limits")
    MetLimitsAnswer.model_validate(found)
    newest, other = found["limits"]
    assert newest == {
        "user_id": bob,
        "user_handle": "bob",
        "limit": "bytes",
        "count": 2,
        "began_at": newest["began_at"],
        "last_at": newest["last_at"],
    }
    assert 1_600_000_000_000 < newest["began_at"] <= newest["last_at"]
    assert (other["user_id"], other["limit"], other["count"]) == (desk.user_id, "connection", 1)
    assert len((await desk.get("/limits?limit=1"))["limits"]) == 1


async def test_a_deleted_user_has_no_name_since_another_may_have_it_now(desk: Desk) -> None:
    bob = await desk.api.add_user("bob")
    desk.api.app[NODE].allowances.limited.note(bob, "bytes")
    assert (await desk.ask("DELETE", f"/users/{bob}")).status == 204
    assert await desk.api.add_user("bob") != bob
    [found] = (await desk.get("/limits"))["limits"]
    assert found["user_id"] == bob
    assert "user_handle" not in found


async def test_a_limit_of_the_page_out_of_range_is_refused(desk: Desk) -> None:
    assert await desk.refused("GET", "/limits?limit=0") == (400, "invalid_parameter")
