"""What users and devices may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.names import (
    clean_device,
    clean_device_type,
    clean_device_uuid,
    clean_handle,
    clean_name,
    clean_os_info,
    handle_key,
)
from app.base.errors import Problem
from app.storage.devices import DeviceInfo

# Handles


@pytest.mark.parametrize("handle", ["a", "x" * 64, "Ada.Lovelace", "ada@example.org", "Zoë", "李"])
def test_a_handle_is_kept_as_it_is(handle: str) -> None:
    assert clean_handle(f"  {handle}\n") == handle


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "  ",
        "x" * 65,
        "two words",
        "tab\there",
        "nul\x00",
        "a\u200bb",
        "a\u202eb",
        "\ud800",
        "a\u00a0b",
        "x" * 10**6,
    ],
)
def test_any_other_handle_is_refused(handle: str) -> None:
    with pytest.raises(Problem) as caught:
        clean_handle(handle)
    assert (caught.value.status, caught.value.code) == (400, "invalid_handle")


def test_a_handle_may_stand_in_1024_characters_and_no_more() -> None:
    assert clean_handle(" " * 1023 + "a") == "a"
    with pytest.raises(Problem):
        clean_handle(" " * 1024 + "a")


@pytest.mark.parametrize(
    ("one", "other"), [("Ada", "aDA"), ("STRASSE", "straße"), ("Zoe\u0308", "ZOË")]
)
def test_handles_that_differ_in_case_or_composition_are_one(one: str, other: str) -> None:
    assert handle_key(clean_handle(one)) == handle_key(clean_handle(other))


@given(st.text(max_size=80))
def test_a_cleaned_handle_stays_what_it_is(text: str) -> None:
    try:
        handle = clean_handle(text)
    except Problem:
        return
    assert clean_handle(handle) == handle
    assert handle_key(handle) == handle_key(handle_key(handle))


# Devices


@pytest.mark.parametrize("uuid", ["12345678", "  a-b-C-d-9 ", "x" * 64])
def test_a_uuid_is_trimmed_and_kept(uuid: str) -> None:
    assert clean_device_uuid(uuid) == uuid.strip()


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "1234567",
        "x" * 65,
        "with space",
        "under_score",
        "ünïcödé-1",
        "１２３４５６７８",
        "a" * 8 + "\n-",
    ],
)
def test_any_other_uuid_is_refused_with_a_reason(uuid: str) -> None:
    with pytest.raises(Problem) as caught:
        clean_device_uuid(uuid)
    assert (caught.value.status, caught.value.code) == (400, "invalid_device")
    assert "8 to 64" in caught.value.detail


@pytest.mark.parametrize("kind", ["web", "android", "android_tv", "ios"])
def test_a_type_is_known_in_any_case(kind: str) -> None:
    assert clean_device_type(f" {kind.upper()} ") == kind


@pytest.mark.parametrize("kind", ["", "toaster", "androidtv", "weB2"])
def test_any_other_type_becomes_unknown(kind: str) -> None:
    assert clean_device_type(kind) == "unknown"


def test_a_name_is_cut_at_100_characters_not_bytes() -> None:
    assert clean_name("é" * 101) == "é" * 100
    assert clean_name("👩" * 300) == "👩" * 100


def test_os_info_is_cut_at_200_characters() -> None:
    assert clean_os_info("字" * 201) == "字" * 200


@pytest.mark.parametrize("blank", [None, "", "   ", "\x00\x07", "\ud800"])
def test_a_blank_name_is_none(blank: str | None) -> None:
    assert clean_name(blank) is None


def test_a_byte_order_mark_goes_and_what_joins_letters_stays() -> None:
    assert clean_name("\ufeffPho\ufeffne") == "Phone"
    assert clean_name("\ufeff") is None
    assert clean_name("👩\u200d🚀") == "👩\u200d🚀"


def test_control_characters_go() -> None:
    assert clean_name(" Ada's\x00 Pho\x1bne\x9f\n\u2028 ") == "Ada's Phone"


@given(st.text(alphabet=st.characters(), max_size=400))
def test_what_is_left_of_any_name_can_be_stored(name: str) -> None:
    kept = clean_name(name)
    assert kept is None or (0 < len(kept.encode().decode()) <= 100 and kept == kept.strip())


def test_a_device_is_cleaned_whole() -> None:
    info = clean_device(device_uuid=" 12345678", device_type="IOS", device_name=" ", os_info="17")
    assert info == DeviceInfo("12345678", "ios", None, "17")
