"""How values are read, those that are refused, and how the refusal reads."""

from ipaddress import ip_network
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
    "a level as other programs call it": ("log_level", "WARN", "warning"),
    "thousands apart": ("max_connections", "1_000", 1000),
    "a whole number with a fraction of 0": ("max_connections", "2.0", 2),
    "a number with zeros before it": ("port", "08080", 8080),
    "a fraction without its zero": ("heartbeat_seconds", ".5", 0.5),
    "an exponent of a time": ("heartbeat_seconds", "1e3", 1000.0),
    "minus 0": ("login_attempts", "-0", 0),
    "a name of a host": ("host", "LOCALHOST", "LOCALHOST"),
    "IPv6 of one interface": ("host", "fe80::1%eth0", "fe80::1%eth0"),
    "IPv4 in brackets": ("host", "[127.0.0.1]", "127.0.0.1"),
    "a name of hexadecimal digits": ("host", "cafe", "cafe"),
    "another's home folder": ("data_dir", "~root/sb", Path("~root/sb").expanduser()),
    "the home folder's web app": ("web_app", "~/dist", str(Path.home() / "dist")),
    "no web app, in capitals": ("web_app", "OFF", "off"),
    "our web app, with a capital": ("web_app", " Auto ", "auto"),
    "commas alone": ("features", " , ,", ()),
    "no prefix": ("durable_prefixes", ",", ()),
    "no key": ("cookie_keys", ",", ()),
    "a mask of a network": ("trusted_proxies", "10.0.0.0/255.0.0.0", (ip_network("10.0.0.0/8"),)),
    "spaces as a secret": ("metrics_token", " " * 20, None),
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
    "nothing in brackets": ("host", "[]", "is no address and no name of a host"),
    "half a bracket": ("host", "::1]", "is no address and no name of a host"),
    "an address of IPv6 too short": ("host", "1:2:3", "is no address and no name of a host"),
    "a list of hosts": ("host", "127.0.0.1,::1", "is no address and no name of a host"),
    "0 as an address": ("host", "0", "IPv4 has four numbers"),
    "a short address": ("host", "127.1", "IPv4 has four numbers"),
    "an address in hexadecimal": ("host", "0x7f000001", "IPv4 has four numbers"),
    "an address too large": ("host", "256.1.1.1", "IPv4 has four numbers"),
    "hexadecimal": ("max_message_bytes", "0x10", "valid integer"),
    "an exponent of a whole number": ("max_connections", "1e3", "valid integer"),
    "half a whole number": ("max_connections", "2.5", "valid integer"),
    "Arabic digits": ("max_connections", "٣", "valid integer"),
    "wide digits": ("port", "８０８０", "valid integer"),
    "a true": ("max_connections", "True", "valid integer"),
    "an on": ("max_connections", "on", "valid integer"),
    "a true as a time": ("heartbeat_seconds", "true", "valid number"),
    "a decimal comma": ("heartbeat_seconds", "2,5", "valid number"),
    "two lines below": ("max_connections", "1__000", "valid integer"),
    "a null": ("max_connections", "null", "valid integer"),
    "a list in words": ("trusted_proxies", "none", "'none' is no address and no network"),
    "semicolons": ("trusted_proxies", "::1;10.0.0.1", "is no address and no network"),
    "a number in quotes": ("port", '"8080"', "docker run keeps those"),
    "a folder in quotes": ("data_dir", " '/srv/sb' ", "docker run keeps those"),
    "a choice in quotes": ("log_level", '"info"', "docker run keeps those"),
    "a list in quotes": ("trusted_proxies", '"::1"', "docker run keeps those"),
    "a secret in quotes": ("metrics_token", '"sesame-and-more-of-it"', "docker run keeps those"),
    "keys in quotes": ("cookie_keys", "'sesame'", "docker run keeps those"),
    "a secret of two words": ("metrics_token", "sesame and more of it", "visible ASCII"),
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


JWTS = {"jwt_algorithm": "hs256", "jwt_issuer": "https://a.b ", "jwt_audience": "sb"}


def test_a_secret_of_jwts_counts_with_every_character_of_it() -> None:
    # Whoever signs reads the same file, with the line end in it.
    for secret in ("x" * 32 + "\n", " " + "x" * 32):
        settings = load_settings({**JWTS, "jwt_secret": secret})
        assert settings.jwt_secret == SecretStr(secret)
        assert (settings.jwt_algorithm, settings.jwt_issuer) == ("HS256", "https://a.b")


def test_a_secret_of_spaces_is_none() -> None:
    with pytest.raises(SettingsError, match="HS256 needs jwt_secret of at least 32 bytes"):
        load_settings({**JWTS, "jwt_secret": " " * 40})


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
