"""Notes: what the assembly of frames tells the door, by way of aiohttp.

A note is a binary frame among the messages, so it is read in their order, and not while the peer
has to wait. No binary frame of a peer gets that far.
"""

from typing import Final, NamedTuple

import orjson

from app.protocol.frames import OPCODE_BINARY, masked_frame

PAID: Final = masked_frame(b"", OPCODE_BINARY)
"""The frame that says that those of the next text were charged as they came."""


class Note(NamedTuple):
    """Why a message was dropped: what its `error` tells, and what was found of the message."""

    code: str
    message: str
    type: str | None = None
    id: str | None = None


def noted(note: Note) -> bytes:
    """Return the frame of a note."""
    return masked_frame(orjson.dumps(tuple(note)), OPCODE_BINARY)


def note_in(payload: bytes) -> Note | None:
    """Return the note in a binary message; None if it says that the next text is paid for."""
    return Note(*orjson.loads(payload)) if payload else None
