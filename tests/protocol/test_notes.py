"""What the assembly tells the door comes through the frame as it was."""

import pytest

from app.protocol.frames import header_length
from app.protocol.notes import PAID, Note, note_in, noted


def payload_of(frame: bytes) -> bytes:
    """Return the payload of a frame whose mask changes nothing."""
    return frame[header_length(frame) :]


@pytest.mark.parametrize(
    "note",
    [
        Note("too_large", "a message has 64 KiB at most"),
        Note("too_large", "é" * 200, "note.text", "id-1"),
        Note("invalid_message", "", None, "id-1"),
    ],
)
def test_a_note_is_read_as_it_was_written(note: Note) -> None:
    frame = noted(note)
    # A final binary frame, with a mask.
    assert (frame[0], frame[1] & 0x80) == (0x82, 0x80)
    assert note_in(payload_of(frame)) == note


def test_that_a_text_is_paid_for_is_no_note() -> None:
    assert PAID[0] == 0x82
    assert note_in(payload_of(PAID)) is None
