"""The error codes that the JavaScript client and the web app know are those of the pages."""

import re

from tests.docs.pages import ROOT, page

PROTOCOL = page("docs/protocol.md")
CLIENT = page("docs/client.md")
OUTBOX = "client/outbox.js"
PLAYGROUND = "src/components/playground/words.js"
WEB_APP = "src/words/errors.js"
OF_A_FAILED_REQUEST = {"unreachable"}
"""What the web app calls an HTTP request that nobody answered."""


def codes(name: str, table: str, entry: str) -> set[str]:
    """Return the codes of a table in JavaScript, from its first line to the bracket after it."""
    text = (ROOT / "frontend" / name).read_text(encoding="utf-8").partition(f"{table}\n")[2]
    rows = re.split(r"^[\]}]", text, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(entry, rows, re.MULTILINE)
    assert found, f"{name} has no {table}"
    assert len(found) == len(set(found)), "a code is there twice"
    return set(found)


def repeated_by_the_outbox() -> set[str]:
    return codes(OUTBOX, "const PASSING = [", r"^  '([a-z_]+)',$")


def words_of_the_playground() -> set[str]:
    return codes(PLAYGROUND, "const FAULTS = {", r"^  ([a-z_]+):")


def words_of_the_web_app() -> set[str]:
    return codes(WEB_APP, "const SENTENCES = new Map([", r"^  \['([a-z_]+)',")


def repeatable() -> set[str]:
    """The codes after which a message with a `message_id` is to be repeated."""
    [row] = [row for row in PROTOCOL.table("after", "do") if row[1].startswith("repeat")]
    return set(row[0].split(", ")) - {"a lost connection"}


def known(*, by_http: bool) -> set[str]:
    """Every code that a person may be told of: the server's and the library's own."""
    told = {row[0] for row in PROTOCOL.table("error code")}
    told |= {row[0] for row in CLIENT.table("code of the library")}
    return told | {row[1] for row in PROTOCOL.table("status", "problem code") if by_http}


def test_the_outbox_repeats_what_the_protocol_says_and_what_got_no_answer() -> None:
    assert repeated_by_the_outbox() == repeatable() | {"timeout"}


def test_the_page_of_the_client_names_what_the_outbox_repeats() -> None:
    [sentence] = re.findall(r"^- After (`[^.]*) it tries again", CLIENT.prose, re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+)`", sentence)) == repeatable()


def test_the_playground_has_words_for_whatever_may_be_tried_again() -> None:
    assert repeatable() <= words_of_the_playground()


def test_the_web_app_has_words_for_a_feature_that_is_slow() -> None:
    assert {"busy", "timed_out"} <= words_of_the_web_app()


def test_the_web_app_has_words_for_no_code_that_nobody_sends() -> None:
    assert words_of_the_playground() <= known(by_http=False)
    assert words_of_the_web_app() <= known(by_http=True) | OF_A_FAILED_REQUEST
