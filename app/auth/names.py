"""What users and devices may be called, and what devices may say about themselves. Pure."""

import re
import unicodedata

from app.base.errors import Problem
from app.storage.devices import DeviceInfo

HANDLE_LENGTH = 64

DEVICE_TYPES = ("web", "android", "android_tv", "ios")
UNKNOWN_TYPE = "unknown"
NAME_LENGTH = 100
OS_INFO_LENGTH = 200

_UUID = re.compile(r"[A-Za-z0-9-]{8,64}")
# Control characters, halves of a surrogate pair (no UTF-8 holds them), line separators.
_REMOVED = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BYTE_ORDER_MARK = "\ufeff"


def clean_handle(text: str) -> str:
    """Return the handle as it is shown; raises Problem 400 `invalid_handle`."""
    # Normalising a long text costs time, and none of these can become a handle.
    handle = unicodedata.normalize("NFC", text.strip()) if len(text) <= 1024 else ""
    if not 1 <= len(handle) <= HANDLE_LENGTH or not handle.isprintable() or " " in handle:
        raise Problem(
            400,
            "invalid_handle",
            f"A handle has 1 to {HANDLE_LENGTH} characters, none of them a space or invisible.",
        )
    return handle


def handle_key(handle: str) -> str:
    """Return the text by which handles are compared: equal if they differ only in case."""
    return unicodedata.normalize("NFC", handle.casefold())


def clean_device(
    *, device_uuid: str, device_type: str, device_name: str | None, os_info: str | None
) -> DeviceInfo:
    """Return what is stored of a device's description; raises Problem 400 `invalid_device`."""
    return DeviceInfo(
        device_uuid=clean_device_uuid(device_uuid),
        device_type=clean_device_type(device_type),
        device_name=clean_name(device_name),
        os_info=clean_os_info(os_info),
    )


def clean_device_uuid(text: str) -> str:
    """Return the uuid without the space around it; raises Problem 400 `invalid_device`."""
    uuid = text.strip()
    if _UUID.fullmatch(uuid) is None:
        raise Problem(
            400,
            "invalid_device",
            "device_uuid must have 8 to 64 characters, of ASCII letters, digits and '-'.",
        )
    return uuid


def clean_device_type(text: str) -> str:
    """Return a known type in lower case, `unknown` for any other text."""
    known = text.strip().lower()
    return known if known in DEVICE_TYPES else UNKNOWN_TYPE


def clean_name(text: str | None) -> str | None:
    """Return the name of a device, a session or an API key, None for a blank one.

    It has at most 100 characters, none of them a control character.
    """
    return _line(text, NAME_LENGTH)


def clean_os_info(text: str | None) -> str | None:
    """Return at most 200 characters without control characters; None for a blank text."""
    return _line(text, OS_INFO_LENGTH)


def _line(text: str | None, length: int) -> str | None:
    if text is None:
        return None
    kept = "".join(char for char in text if unicodedata.category(char) not in _REMOVED)
    # Nobody sees it, but a name with it would be another one than the same without.
    kept = kept.replace(_BYTE_ORDER_MARK, "")
    return kept.strip()[:length].rstrip() or None
