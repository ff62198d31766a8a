"""Settings that are refused, and how the refusal reads."""

import pytest

from app.base.errors import SettingsError
from app.settings import load_settings


def test_a_drain_longer_than_the_whole_stop_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^The drain is part of the stop"):
        load_settings({"drain_seconds": 9, "shutdown_seconds": 8})
    assert load_settings({"drain_seconds": 8, "shutdown_seconds": 8}).drain_seconds == 8


def test_a_network_that_is_none_is_named_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"trusted_proxies": "10.0.0.0/8, foo, 10.0.0.0/33"})
    assert caught.value.faults == ("--trusted-proxies: 'foo' is no address and no network.",)


@pytest.mark.parametrize("prefixes", ["a b", "Note", "note.text", "**"])
def test_a_prefix_that_no_type_has_is_refused(prefixes: str) -> None:
    with pytest.raises(SettingsError, match="is no prefix"):
        load_settings({"durable_prefixes": prefixes})
    assert load_settings({"durable_prefixes": "note,*"}).durable_prefixes == ("note", "*")


def test_one_sentence_for_each_fault_and_no_secret_in_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "hush")
    with pytest.raises(SettingsError) as caught:
        load_settings({"port": 99_999, "heartbeat_seconds": 0})
    assert len(caught.value.faults) == 2
    assert "--port" in caught.value.faults[0]
    assert "hush" not in str(caught.value)
