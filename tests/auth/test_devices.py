"""What a device says about itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.devices import (
    clean_device,
    clean_device_name,
    clean_device_type,
    clean_device_uuid,
    clean_os_info,
)
from app.base.errors import Problem
from app.storage.devices import DeviceInfo


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
    assert clean_device_name("é" * 101) == "é" * 100
    assert clean_device_name("👩" * 300) == "👩" * 100


def test_os_info_is_cut_at_200_characters() -> None:
    assert clean_os_info("字" * 201) == "字" * 200


@pytest.mark.parametrize("blank", [None, "", "   ", "\x00\x07", "\ud800"])
def test_a_blank_name_is_none(blank: str | None) -> None:
    assert clean_device_name(blank) is None


def test_control_characters_go() -> None:
    assert clean_device_name(" Ada's\x00 Pho\x1bne\x9f\n\u2028 ") == "Ada's Phone"


@given(st.text(alphabet=st.characters(), max_size=400))
def test_what_is_left_of_any_name_can_be_stored(name: str) -> None:
    kept = clean_device_name(name)
    assert kept is None or (0 < len(kept.encode().decode()) <= 100 and kept == kept.strip())


def test_a_device_is_cleaned_whole() -> None:
    assert clean_device(" 12345678", "IOS", " ", "17") == DeviceInfo("12345678", "ios", None, "17")
