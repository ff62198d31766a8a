"""One form for every spelling of an origin, and a sentence for what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.origins import parse_host, parse_origin, read_host, read_origin

SAME = {
    "as browsers send it": ("https://app.example", "https://app.example"),
    "the scheme's own port": ("https://app.example:443", "https://app.example"),
    "its own port, of http": ("http://app.example:80", "http://app.example"),
    "another port": ("https://app.example:8443", "https://app.example:8443"),
    "the other scheme's port": ("http://app.example:443", "http://app.example:443"),
    "a port with zeros": ("https://app.example:08443", "https://app.example:8443"),
    "capitals": ("HTTPS://App.EXAMPLE", "https://app.example"),
    "a dot at the end": ("https://app.example.", "https://app.example"),
    "a dot before the port": ("https://app.example.:443", "https://app.example"),
    "an international name": ("https://münchen.example", "https://xn--mnchen-3ya.example"),
    "its punycode": ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    "its punycode in capitals": (
        "https://XN--MNCHEN-3YA.example",
        "https://xn--mnchen-3ya.example",
    ),
    "its capitals": ("https://MÜNCHEN.example", "https://xn--mnchen-3ya.example"),
    "decomposed letters": ("https://mu\u0308nchen.example", "https://xn--mnchen-3ya.example"),
    "a sharp s": ("https://straße.example", "https://xn--strae-oqa.example"),
    "another script": ("https://例え.テスト", "https://xn--r8jz45g.xn--zckzah"),
    "its full stop": ("https://例え。テスト", "https://xn--r8jz45g.xn--zckzah"),
    "an emoji": ("https://i❤.example", "https://xn--i-7iq.example"),
    "one label": ("http://box:8080", "http://box:8080"),
    "localhost": ("http://localhost", "http://localhost"),
    "an underscore": ("http://my_box:8080", "http://my_box:8080"),
    "IPv4": ("http://192.0.2.1:8080", "http://192.0.2.1:8080"),
    "IPv6": ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    "IPv6 in its long form": ("https://[2001:DB8:0:0:0::1]:443", "https://[2001:db8::1]"),
    "Capacitor on iOS": ("capacitor://localhost", "capacitor://localhost"),
    "Ionic": ("ionic://localhost", "ionic://localhost"),
    "Tauri": ("tauri://localhost", "tauri://localhost"),
    "Tauri on Windows": ("http://tauri.localhost", "http://tauri.localhost"),
    "Electron": ("app://-", "app://-"),
    "an extension": ("chrome-extension://abcdefghij", "chrome-extension://abcdefghij"),
    "an app's own scheme": ("my-app://localhost", "my-app://localhost"),
}

NONE = {
    "nothing": "",
    "null": "null",
    "a star": "*",
    "no scheme": "app.example",
    "a scheme alone": "https://",
    "no slashes": "https:app.example",
    "one slash": "https:/app.example",
    "a port alone": "https://:443",
    "an empty port": "https://app.example:",
    "port 0": "https://app.example:0",
    "a port too high": "https://app.example:65536",
    "a port of letters": "https://app.example:https",
    "a port of other digits": "https://app.example:\u0664\u0664\u0663",
    "two ports": "https://app.example:443:443",
    "a slash at the end": "https://app.example/",
    "a path": "https://app.example/app",
    "a query": "https://app.example?x=1",
    "a fragment": "https://app.example#top",
    "a backslash": "https://app.example\\",
    "a user": "https://ada@app.example",
    "a user and a password": "https://ada:sesame@app.example",
    "a wildcard": "https://*.example",
    "a wildcard port": "https://app.example:*",
    "two dots": "https://app..example",
    "two dots at the end": "https://app.example..",
    "a dot first": "https://.example",
    "a hyphen first": "https://-app.example",
    "a space": "https://app .example",
    "a space first": " https://app.example",
    "a line end": "https://app.example\n",
    "two origins": "https://app.example https://b.example",
    "a comma": "https://app.example,https://b.example",
    "a percent": "https://app%2eexample",
    "a label too long": f"https://{'a' * 64}.example",
    "a name too long": f"https://{'a.' * 130}example",
    "a short IPv4": "http://127.1",
    "a large IPv4": "http://256.0.0.1",
    "an IPv4 in hexadecimal": "http://0x7f000001",
    "IPv6 without brackets": "https://2001:db8::1",
    "half a bracket": "https://[2001:db8::1",
    "no IPv6": "https://[app.example]",
    "a zone": "https://[fe80::1%eth0]",
    "a mistyped scheme": "htps://app.example",
    "a mistyped scheme of this machine": "htpps://localhost",
    "a socket": "wss://app.example",
    "a socket of this machine": "ws://localhost",
    "a file": "file://localhost",
    "data": "data://localhost",
    "an unknown scheme": "gopher://app.example",
    "an app without a host": "capacitor://",
    "a lone surrogate": "https://\udcff.example",
    "a forbidden character": "https://a\u2028b.example",
}


@pytest.mark.parametrize(("text", "form"), SAME.values(), ids=SAME)
def test_every_spelling_has_one_form(text: str, form: str) -> None:
    assert str(parse_origin(text)) == form
    assert parse_origin(form) == parse_origin(text)


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_what_is_no_origin_is_told_in_the_rest_of_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has|begins) ") as caught:
        parse_origin(text)
    assert "sesame" not in str(caught.value)
    assert read_origin(text) is None


@given(st.text(max_size=400) | st.from_regex(r"https?://[^/]{0,300}", fullmatch=True))
def test_a_form_is_its_own_form_whatever_was_read(text: str) -> None:
    origin = read_origin(text)
    if origin is not None:
        assert str(origin).isascii()
        assert parse_origin(str(origin)) == origin


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("App.Example.", "app.example", None),
        ("app.example:443", "app.example", 443),
        ("MÜNCHEN.example:80", "xn--mnchen-3ya.example", 80),
        ("[2001:DB8:0::1]:8443", "[2001:db8::1]", 8443),
        ("127.0.0.1:8080", "127.0.0.1", 8080),
    ],
)
def test_a_host_is_read_as_an_origins(text: str, name: str, port: int | None) -> None:
    assert parse_host(text) == (name, port)


@pytest.mark.parametrize("text", ["", ":80", "a b", "a/b", "a@b", "a:b", "[::1", "x" * 400, "a,b"])
def test_what_is_no_host_is_none(text: str) -> None:
    assert read_host(text) is None
