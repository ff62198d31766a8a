"""What is refused as a setting."""

import pytest

from app.errors import SettingsError
from app.settings import load_settings


def test_a_drain_longer_than_the_whole_stop_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^The drain is part of the stop"):
        load_settings({"drain_seconds": 9, "shutdown_seconds": 8})
    assert load_settings({"drain_seconds": 8, "shutdown_seconds": 8}).drain_seconds == 8


def test_one_sentence_for_each_fault_and_no_secret_in_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "hush")
    with pytest.raises(SettingsError) as caught:
        load_settings({"port": 99_999, "heartbeat_seconds": 0})
    assert len(caught.value.faults) == 2
    assert "--port" in caught.value.faults[0]
    assert "hush" not in str(caught.value)
