"""For whom the log counts the message id of a publication."""

import pytest

from app.node.node import to_append
from app.protocol.keep import Keep
from app.protocol.publication import Publication, ToEveryone, ToOthers, ToUser
from app.streams.ids import HASH_BYTES

KEEP = Keep("log", None, None, "m")


@pytest.mark.parametrize(
    ("publication", "sender"),
    [
        (Publication(ToOthers(5, 7), "note.text", owner="device:7", sender="user:5"), "user:5"),
        (Publication(ToUser(5), "note.text", owner="key:3", sender="key:3"), "key:3"),
        # A feature that names no sender: apart from the devices, and for each user.
        (Publication(ToUser(5), "playback.state", owner="playback"), "playback:5"),
        (Publication(ToUser(6), "playback.state", owner="playback"), "playback:6"),
        (Publication(ToEveryone(), "playback.state", owner="playback"), "playback:0"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_an_id_counts_for_its_sender_or_for_the_owner_and_the_user(
    publication: Publication, sender: str
) -> None:
    publication.keep = KEEP
    append = to_append(publication)
    assert append.sender == sender
    assert len(append.digest) == HASH_BYTES


def test_what_has_no_id_counts_for_nobody() -> None:
    publication = Publication(ToUser(5), "note.text", keep=Keep("log"), owner="key:3")
    assert to_append(publication).sender == ""
