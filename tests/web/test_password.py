"""POST /v1/auth/password."""

import pytest
from serving import PATIENCE

from tests.web.api import PASSWORD, Api, problem

NEW = "another long password"


async def change(api: Api, headers: dict[str, str], **body: str) -> int:
    response = await api.http.post("/v1/auth/password", json=body, headers=headers)
    return response.status


async def test_a_changed_password_ends_all_other_sessions_and_keeps_this_one(api: Api) -> None:
    this, other = await api.sign_in(), await api.sign_in(device_uuid="device-0002")
    assert await change(api, this.by_header, old_password=PASSWORD, new_password=NEW) == 204
    assert await api.whoami(this.by_header) == 200
    assert await api.whoami(other.by_header) == 401
    assert (await api.login()).status == 401
    assert (await api.login(password=NEW)).status == 201


async def test_a_changed_password_closes_the_sockets_of_the_other_sessions(api: Api) -> None:
    this, other = await api.sign_in(), await api.sign_in(device_uuid="device-0002")
    kept, closed = await api.connect(this.by_header), await api.connect(other.by_header)
    await change(api, this.by_cookie, old_password=PASSWORD, new_password=NEW)
    message = await closed.receive(timeout=PATIENCE)
    assert (message.data, message.extra) == (4502, "revoked")
    await kept.send_json({"type": "ping"})
    assert (await kept.receive_json(timeout=PATIENCE))["type"] == "pong"


async def test_a_wrong_old_password_is_no_401_which_would_sign_an_android_client_out(
    api: Api,
) -> None:
    ada = await api.sign_in()
    response = await api.http.post(
        "/v1/auth/password",
        json={"old_password": "not the password", "new_password": NEW},
        headers=ada.by_header,
    )
    assert response.status == 400
    assert (await problem(response))["code"] == "wrong_password"
    assert (await api.login()).status == 201


async def test_a_short_password_is_refused(api: Api) -> None:
    ada = await api.sign_in()
    response = await api.http.post(
        "/v1/auth/password",
        json={"old_password": PASSWORD, "new_password": "short"},
        headers=ada.by_header,
    )
    assert response.status == 400
    assert (await problem(response))["code"] == "password_too_short"


@pytest.mark.parametrize("missing", ["old_password", "new_password"])
async def test_both_passwords_are_needed_and_none_is_echoed(api: Api, missing: str) -> None:
    ada = await api.sign_in()
    body = {"old_password": PASSWORD, "new_password": NEW}
    del body[missing]
    response = await api.http.post("/v1/auth/password", json=body, headers=ada.by_header)
    text = await response.text()
    assert response.status == 400
    assert PASSWORD not in text
    assert NEW not in text


async def test_nobody_changes_nothing(api: Api) -> None:
    assert await change(api, {}, old_password=PASSWORD, new_password=NEW) == 401
