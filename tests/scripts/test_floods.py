"""The bytes of the floods of scripts/chaos flood are what they are said to be."""

import struct

import pytest

from app.protocol.frames import TEXT_FRAME, is_one_frame, text_of
from app.settings import Settings
from scripts.faults.floods import FLOODS, Crowd, fragments, frame, message, request
from scripts.faults.plan import Account

ACCOUNT = Account(0, 1, 7, "main", "secret")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535])
def test_a_frame_is_whole_and_masked(size: int) -> None:
    made = frame(b"x" * size)
    assert is_one_frame(made)
    assert made[0] == TEXT_FRAME
    assert text_of(made) == "x" * size


def test_a_frame_above_64_kib_tells_its_length_in_eight_bytes() -> None:
    made = frame(b"x" * 65_536)
    assert made[1] == 0x80 | 127
    assert struct.unpack(">Q", made[2:10]) == (65_536,)


@pytest.mark.parametrize("count", [2, 1023])
def test_fragments_make_one_message_in_so_many_frames(count: int) -> None:
    first, rest = frame(b'{"type":"ping"}', final=False), fragments(count)
    assert rest.startswith(first)
    empty = [rest[at : at + 6] for at in range(len(first), len(rest), 6)]
    assert [one[0] for one in empty] == [0x00] * (count - 2) + [0x80]
    assert {one[1:] for one in empty} == {b"\x80\0\0\0\0"}


@pytest.mark.parametrize("name", FLOODS)
def test_each_message_is_one_that_the_server_takes(name: str) -> None:
    for crowd in FLOODS[name].crowds:
        assert len(crowd.message) < Settings().max_message_bytes


@pytest.mark.parametrize(
    ("crowd", "expected"),
    [
        (Crowd(1), b"GET /v1/ws?instance=flood3&offset=0 HTTP/1.1\r\n"),
        (Crowd(1, "PATCH /v1/devices/{device} HTTP/1.1"), b"PATCH /v1/devices/7 HTTP/1.1\r\n"),
    ],
    ids=["an upgrade", "another request"],
)
def test_a_request_is_of_its_account_and_has_its_end(crowd: Crowd, expected: bytes) -> None:
    made = request(crowd, ACCOUNT, number=3, query="&offset=0")
    assert made.startswith(expected)
    assert b"\r\nAuthorization: Bearer secret\r\n" in made
    assert made.endswith(b"\r\n\r\n")


def test_a_body_follows_the_request_with_its_length() -> None:
    made = request(Crowd(1, "PATCH / HTTP/1.1", body=b"{}"), ACCOUNT, number=0, query="")
    assert b"\r\nContent-Length: 2\r\n" in made
    assert made.endswith(b"\r\n\r\n{}")


def test_a_half_request_lacks_its_end_and_a_stranger_has_no_token() -> None:
    made = request(Crowd(1, known=False, whole=False), ACCOUNT, number=3, query="")
    assert b"\r\n\r\n" not in made
    assert b"secret" not in made


def test_a_message_is_json_in_one_frame() -> None:
    assert text_of(message("a", 1, id="x")) == '{"type":"a","payload":1,"id":"x"}'
