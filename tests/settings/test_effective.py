"""How values are read, those that are refused, and how the refusal reads."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from app.base.errors import SettingsError
from app.settings import OPTIONS, load_settings


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in OPTIONS.values():
        monkeypatch.delenv(option.variable, raising=False)


@pytest.mark.parametrize("empty", ["", " ", "\t\n"], ids=["empty", "space", "blank"])
@pytest.mark.parametrize("name", OPTIONS)
def test_empty_is_unset_and_of_a_list_no_items(
    monkeypatch: pytest.MonkeyPatch, name: str, empty: str
) -> None:
    option = OPTIONS[name]
    expected = () if option.kind == "list" else option.default
    assert getattr(load_settings({name: empty}), name) == expected
    monkeypatch.setenv(option.variable, empty)
    assert getattr(load_settings({}), name) == expected


MEANT = {
    "a level in capitals": ("log_level", "INFO", "info"),
    "a level with a capital": ("log_level", "Warning", "warning"),
    "a format in capitals": ("log_format", "JSON", "json"),
    "spaces around a choice": ("log_level", " debug ", "debug"),
    "spaces around a number": ("port", " 8081\n", 8081),
    "a plus": ("port", "+8081", 8081),
    "IPv6 in brackets": ("host", "[::1]", "::1"),
    "spaces around a host": ("host", " 0.0.0.0 ", "0.0.0.0"),
    "a comma too many": ("trusted_proxies", ",", ()),
    "a folder with a space after it": ("data_dir", "/srv/sb ", Path("/srv/sb")),
    "a line end after a secret": (
        "metrics_token",
        "0123456789abcdef\n",
        SecretStr("0123456789abcdef"),
    ),
    "the home folder": ("data_dir", "~/sb", Path.home() / "sb"),
    "the home of nobody": ("data_dir", "~no-such-user/sb", Path("~no-such-user/sb")),
    "an origin twice": ("allowed_origins", "https://a.b, https://A.b:443", ("https://a.b",)),
}


@pytest.mark.parametrize(("name", "given", "meant"), MEANT.values(), ids=MEANT)
def test_a_value_is_read_as_people_mean_it(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, meant: object
) -> None:
    monkeypatch.setenv(OPTIONS[name].variable, given)
    assert getattr(load_settings({}), name) == meant


NONSENSE = {
    "a port that Kubernetes made": ("port", "tcp://10.0.0.5:8080", "Kubernetes sets this"),
    "a port that Docker made": ("port", "udp://172.17.0.2:53", "'udp://172.17.0.2:53' is no port"),
    "a port with a protocol": ("port", "8080/tcp", "valid integer"),
    "a port with a colon": ("port", ":8080", "valid integer"),
    "a port too high": ("port", "65536", "less than or equal to 65535"),
    "a port below 0": ("port", "-1", "greater than or equal to 0"),
    "half a port": ("port", "80.5", "valid integer"),
    "a port by name": ("port", "http", "valid integer"),
    "an unknown level": ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
    "no number": ("heartbeat_seconds", "nan", "finite number"),
    "an endless time": ("heartbeat_seconds", "inf", "finite number"),
    "a number too large": ("bytes_per_second", "1e400", "finite number"),
    "minus endless": ("messages_per_second", "-Infinity", "finite number"),
    "a unit": ("heartbeat_seconds", "25s", "valid number"),
    "a size with a unit": ("max_message_bytes", "64KiB", "valid integer"),
    "a yes": ("max_handshakes", "yes", "valid integer"),
    "more connections than a machine has": ("max_connections", "9" * 40, "less than or equal"),
    "an address with a port": ("host", "0.0.0.0:8080", "the port has a setting of its own"),
    "IPv6 with a port": ("host", "[::]:8080", "the port has a setting of its own"),
    "a URL as an address": ("host", "http://0.0.0.0", "is no address and no name of a host"),
    "two addresses": ("host", "127.0.0.1 ::1", "is no address and no name of a host"),
    "every address as a star": ("host", "*", "0.0.0.0 is every IPv4 address"),
    "a short secret": ("metrics_token", "sesame", "at least 16 characters"),
    "a secret that no header has": ("metrics_token", "sésame sésame sésame", "visible ASCII"),
    "a network of all": ("trusted_proxies", "::/0", "every address"),
    "a network with a host's bits": ("trusted_proxies", "10.0.0.1/8", "did you mean 10.0.0.0/8"),
    "a path after an origin": (
        "allowed_origins",
        "https://a.b/",
        "is not of the form https://host[:port], since '/' follows",
    ),
    "a star as an origin": ("allowed_origins", "*", "is not of the form"),
    "null as an origin": ("allowed_origins", "null", "is not of the form"),
    "a list in JSON": ("allowed_origins", '["https://a.b"]', "is not of the form"),
    "a socket as an origin": ("allowed_origins", "wss://a.b", "browsers send none with wss://"),
    "a password in an origin": ("allowed_origins", "https://ada:sesame@a.b", "has a user before"),
    "years of https": ("hsts_seconds", "1e12", "valid integer"),
}


@pytest.mark.parametrize(("name", "given", "told"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_one_sentence_that_names_the_setting_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, given: str, told: str
) -> None:
    monkeypatch.setenv(OPTIONS[name].variable, given)
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    [fault] = caught.value.faults
    assert fault.startswith(f"SWITCHBOARD_{name.upper()}: ")
    assert told in fault
    assert fault.endswith(".")
    assert "sesame" not in fault


def test_a_flag_stands_in_for_a_port_that_kubernetes_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_PORT", "tcp://10.0.0.5:8080")
    assert load_settings({"port": "8080"}).port == 8080


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
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "hush, a secret")
    with pytest.raises(SettingsError) as caught:
        load_settings({"port": 99_999, "heartbeat_seconds": 0})
    assert len(caught.value.faults) == 3
    assert "--port" in caught.value.faults[0]
    assert "hush" not in str(caught.value)
