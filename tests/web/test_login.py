"""POST /v1/auth/login, as existing clients use it."""

import logging

import pytest

from tests.web.api import COOKIE, PASSWORD, Api, Start, problem


async def test_signing_in_answers_201_with_what_older_clients_read(api: Api) -> None:
    response = await api.login()
    body = await response.json()
    assert response.status == 201
    assert isinstance(body["token"], str)
    assert body["user_handle"] == "ada"
    assert body["permissions"] == ["admin"]
    assert isinstance(body["user_id"], int)
    assert isinstance(body["device_id"], int)


async def test_the_cookie_is_for_the_whole_site_and_out_of_reach_of_scripts(api: Api) -> None:
    morsel = (await api.login()).cookies[COOKIE]
    assert morsel["path"] == "/"
    assert morsel["httponly"] is True
    assert morsel["samesite"] == "Lax"
    assert not morsel["secure"]
    assert int(morsel["max-age"]) > 0


async def test_the_cookie_is_secure_where_a_trusted_proxy_speaks_tls(start: Start) -> None:
    api = await start(trusted_proxies="127.0.0.1")
    response = await api.login(headers={"X-Forwarded-Proto": "https"})
    assert response.cookies[COOKIE]["secure"] is True


async def test_a_stranger_who_claims_to_be_a_proxy_is_not_believed(api: Api) -> None:
    response = await api.login(headers={"X-Forwarded-Proto": "https"})
    assert not response.cookies[COOKIE]["secure"]


async def test_the_cookie_holds_no_character_that_clients_would_have_to_quote(api: Api) -> None:
    cookie = (await api.sign_in()).cookie
    assert cookie is not None
    assert cookie.replace("-", "").replace("_", "").isalnum()


async def test_the_token_is_not_readable_in_the_cookie(api: Api) -> None:
    ada = await api.sign_in()
    assert ada.cookie is not None
    assert ada.token not in ada.cookie


async def test_optional_device_fields_may_be_null_or_missing(api: Api) -> None:
    assert (await api.login(device_name=None, os_info=None)).status == 201
    assert (await api.login(device_name="Kitchen", os_info="Linux")).status == 201
    assert (await api.login()).status == 201


async def test_an_unknown_device_type_is_no_error(api: Api) -> None:
    ada = await api.sign_in(device_type="Toaster")
    response = await api.http.get("/v1/devices", headers=ada.by_header)
    assert (await response.json())["devices"][0]["device_type"] == "unknown"


async def test_a_long_name_of_wide_characters_is_cut_between_characters(api: Api) -> None:
    ada = await api.sign_in(device_name="é" * 99 + "👩‍🚀" * 40, os_info="ü" * 300)
    response = await api.http.get("/v1/devices", headers=ada.by_header)
    device = (await response.json())["devices"][0]
    assert len(device["device_name"]) == 100
    assert len(device["os_info"]) == 200


@pytest.mark.parametrize("uuid", ["short", "with space in it", "ümlaut-0001", "x" * 65, ""])
async def test_a_bad_device_is_refused_before_the_password_is_looked_at(
    api: Api, uuid: str
) -> None:
    response = await api.login(device_uuid=uuid, password="wrong")
    assert response.status == 400
    assert (await problem(response))["code"] == "invalid_device"


async def test_a_missing_device_is_refused_with_the_names_of_the_fields(api: Api) -> None:
    response = await api.login(device_uuid=..., device_type=..., password="wrong")
    body = await problem(response)
    assert response.status == 400
    assert body["code"] == "invalid_body"
    assert {fault["field"] for fault in body["errors"]} == {"device_uuid", "device_type"}


async def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(api: Api) -> None:
    wrong = await api.login(password="not the password")
    unknown = await api.login(user_handle="nobody")
    assert wrong.status == unknown.status == 401
    assert await wrong.read() == await unknown.read()
    assert (await problem(wrong))["code"] == "invalid_credentials"
    assert COOKIE not in wrong.cookies


async def test_a_device_that_signs_in_again_keeps_its_id(api: Api) -> None:
    first = await api.sign_in()
    again = await api.sign_in()
    assert again.device_id == first.device_id
    assert again.token != first.token
    assert await api.whoami(first.by_header) == 200


async def test_a_uuid_known_for_another_user_becomes_a_new_device(api: Api) -> None:
    await api.add_user("bob")
    ada = await api.sign_in()
    bob = await api.sign_in(user_handle="bob")
    assert bob.device_id != ada.device_id
    assert await api.whoami(ada.by_header) == 200


async def test_failures_count_by_address_whatever_the_port(start: Start) -> None:
    api = await start(login_attempts=2)
    for handle in ("nobody", "no-one"):
        # A connection of its own, so a port of its own.
        response = await api.login(user_handle=handle, headers={"Connection": "close"})
        assert response.status == 401
    response = await api.login(user_handle="somebody")
    assert response.status == 429
    assert (await problem(response))["code"] == "too_many_attempts"
    assert int(response.headers["Retry-After"]) > 0


async def test_failures_count_by_the_address_behind_a_trusted_proxy(start: Start) -> None:
    api = await start(login_attempts=1, trusted_proxies="127.0.0.1")
    one, other = ({"X-Forwarded-For": address} for address in ("203.0.113.7", "203.0.113.8"))
    assert (await api.login(user_handle="nobody", headers=one)).status == 401
    assert (await api.login(user_handle="no-one", headers=one)).status == 429
    assert (await api.login(user_handle="no-one", headers=other)).status == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example", "null"])
async def test_a_page_of_another_origin_gets_the_token_but_no_cookie(
    start: Start, origin: str
) -> None:
    api = await start(allowed_origins="https://app.example")
    response = await api.login(headers={"Origin": origin})
    assert response.status == 201
    assert (await response.json())["token"]
    assert "Set-Cookie" not in response.headers


async def test_a_page_of_our_own_gets_the_cookie(api: Api) -> None:
    response = await api.login(headers={"Origin": api.origin, "Sec-Fetch-Site": "same-origin"})
    assert COOKIE in response.cookies


async def test_neither_password_nor_token_is_logged_at_any_level(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        ada = await api.sign_in()
        await api.login(password="a wrong password")
        await api.whoami(ada.by_header)
        await api.whoami(ada.by_cookie)
    assert caplog.records
    for secret in (PASSWORD, "a wrong password", ada.token, str(ada.cookie)):
        assert secret not in caplog.text


async def test_the_cookie_of_an_earlier_session_does_not_get_in_the_way(api: Api) -> None:
    ada = await api.sign_in()
    response = await api.login(
        headers={**ada.by_cookie, "Origin": "https://evil.example"}, device_uuid="device-0002"
    )
    assert response.status == 201
