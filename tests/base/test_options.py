"""What a declaration says about its setting."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.base.options import (
    MASK,
    Networks,
    Origins,
    Prefixes,
    Secrets,
    Words,
    describe,
    option,
    shown,
)


class Sample(BaseSettings):
    """One setting of each kind."""

    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    port_number: int = option(80, "A port.", ge=0, le=99)
    wait: float = option(1.0, "A wait.", unit="seconds", gt=0)
    word: str | None = option(None, "A word.")
    folder: Path | None = option(None, "A folder.")
    level: Literal["low", "high"] | None = option("low", "A level.")
    words: Words = option((), "Words.")
    networks: Networks = option((), "Networks.")
    origins: Origins = option((), "Origins.")
    prefixes: Prefixes = option(("*",), "Prefixes.")
    password: SecretStr | None = option(None, "A secret.")
    keys: Secrets = option((), "Secrets.")


OPTIONS = describe(Sample)


def test_the_order_is_that_of_the_declarations() -> None:
    assert list(OPTIONS) == list(Sample.model_fields)


def test_a_declaration_is_all_that_a_setting_needs() -> None:
    port = OPTIONS["port_number"]
    assert (port.variable, port.flag) == ("SAMPLE_PORT_NUMBER", "--port-number")
    assert (port.default, port.what, port.unit) == (80, "A port.", "")
    assert port.bounds == ("≥ 0", "≤ 99")
    assert (OPTIONS["wait"].unit, OPTIONS["wait"].bounds) == ("seconds", ("> 0",))
    assert OPTIONS["level"].choices == ("low", "high")


def test_the_kind_is_that_of_the_type_with_and_without_none() -> None:
    assert {name: one.kind for name, one in OPTIONS.items()} == {
        "port_number": "number",
        "wait": "number",
        "word": "text",
        "folder": "path",
        "level": "choice",
        "words": "list",
        "networks": "list",
        "origins": "list",
        "prefixes": "list",
        "password": "text",
        "keys": "list",
    }


def test_a_secret_alone_or_in_a_list_has_no_flag() -> None:
    secrets = {name for name, one in OPTIONS.items() if one.secret}
    assert secrets == {"password", "keys"}
    assert {name for name, one in OPTIONS.items() if one.flag is None} == secrets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ((), None),
        (30.0, "30"),
        (0.5, "0.5"),
        (("a", "b"), "a,b"),
        ((ip_network("10.0.0.0/8"),), "10.0.0.0/8"),
        (SecretStr("sesame"), MASK),
        ((SecretStr("sesame"), SecretStr("open")), f"{MASK},{MASK}"),
    ],
    ids=str,
)
def test_a_value_is_shown_as_people_write_it_and_a_secret_masked(
    value: object, text: str | None
) -> None:
    assert shown(value) == text


def test_commas_part_the_values_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPLE_WORDS", "a, b ,,c")
    monkeypatch.setenv("SAMPLE_NETWORKS", "10.0.0.0/8,::1")
    monkeypatch.setenv("SAMPLE_ORIGINS", "https://Example.org")
    monkeypatch.setenv("SAMPLE_KEYS", "sesame,open")
    sample = Sample()
    assert sample.words == ("a", "b", "c")
    assert sample.networks == (ip_network("10.0.0.0/8"), ip_network("::1"))
    assert sample.origins == ("https://example.org",)
    assert [key.get_secret_value() for key in sample.keys] == ["sesame", "open"]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"networks": "0.0.0.0/0"}, "a network of every address"),
        ({"networks": "here"}, "'here' is no address and no network"),
        ({"origins": "example.org"}, "'example.org' is not of the form"),
        ({"origins": "https://example.org/path"}, "is not of the form"),
        ({"prefixes": "note.text"}, "'note.text' is no prefix"),
    ],
    ids=str,
)
def test_each_list_names_the_word_at_fault(given: dict[str, str], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Sample.model_validate(given)
