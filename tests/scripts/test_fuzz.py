"""scripts/fuzz finds nothing, and would find what there is."""

import re
import subprocess
from argparse import Namespace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.protocol.frames import header_length
from app.protocol.messages import MessageError, decode
from app.web.problems import HTTP_PROBLEMS
from scripts.fuzzing import documented, frames, http
from scripts.fuzzing.grammar import Grammar, Owed, Piece
from tests.scripts.clones import ROOT

SIZES = {"frames": 4000, "http": 400}


@pytest.mark.process
@pytest.mark.parametrize("part", ["frames", "http"])
def test_nothing_that_peers_send_makes_the_server_fail(part: str, long: bool) -> None:
    option = {"frames": "--frames", "http": "--requests"}[part]
    count = SIZES[part] * (50 if long else 1)
    outcome = subprocess.run(
        [ROOT / "scripts/fuzz", part, option, str(count)], capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.endswith("; 0 faults\n")
    sent = re.search(r"^([\d,]+) (frames|requests)\b", outcome.stdout, re.MULTILINE)
    assert sent
    assert int(sent[1].replace(",", "")) >= count * 0.9


def test_an_error_code_that_no_table_has_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "error_codes", lambda: frozenset({"parse_error"}))
    faults, _ = frames.run(Namespace(frames=1000, seed=1, round=0))
    assert any("is in no table" in fault for fault in faults)


def test_a_problem_that_no_table_has_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "problem_codes", lambda: frozenset({(400, "invalid_json")}))
    faults, _ = http.run(Namespace(requests=50, seed=1, round=0))
    assert any("is in no table" in fault for fault in faults)


def test_the_tables_of_the_documentation_are_found() -> None:
    assert {"parse_error", "internal_error", "rate_limited"} <= documented.error_codes()
    expected = {(status, code) for status, (code, _) in HTTP_PROBLEMS.items()}
    assert expected <= documented.problem_codes()


def pieces(seed: int) -> list[Piece]:
    grammar = Grammar(Random(seed), [1, 2])
    return [grammar.piece() for _ in range(50)]


@given(st.integers(0, 1 << 32))
def test_a_message_that_is_owed_an_answer_is_decoded_or_refused_by_its_id(seed: int) -> None:
    for piece in pieces(seed):
        if piece.text is None or piece.text.owed is not Owed.ONE:
            continue
        try:
            named = decode(piece.text.data.decode()).id
        except MessageError as refusal:
            named = refusal.reply_to
        assert named == piece.text.id


@given(st.integers(0, 1 << 32))
def test_lawful_bytes_are_whole_masked_frames(seed: int) -> None:
    for piece in pieces(seed):
        if piece.lawful:
            data = piece.data
            while data:
                length = header_length(data)
                assert data[1] & 0x80, "not masked"
                short = data[1] & 0x7F
                size = short if short < 126 else int.from_bytes(data[2 : length - 4], "big")
                data = data[length + size :] if len(data) >= length + size else b"\x00"


@given(st.integers(0, 1 << 32))
def test_a_seed_makes_the_same_bytes_again(seed: int) -> None:
    assert pieces(seed) == pieces(seed)
