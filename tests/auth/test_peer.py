"""Who is at the other end, and whether a page may talk to this server."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from app.auth.peer import OriginVerdict, Peer, is_this_machine, origin_verdict, resolve_peer

PROXY = "10.0.0.1"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def peer(*headers: tuple[str, str], peername: object = (PROXY, 4711)) -> Peer:
    return resolve_peer(peername, CIMultiDict(headers), "http", "inside:8080", TRUSTED)


def address(*headers: tuple[str, str], peername: object = (PROXY, 4711)) -> str:
    return peer(*headers, peername=peername).address


@pytest.mark.parametrize(
    ("peername", "expected"),
    [
        (("192.0.2.1", 4711), "192.0.2.1"),
        (("2001:DB8:0:0::1", 4711, 0, 0), "2001:db8::1"),
        (("fe80::1%eth0", 4711, 0, 3), "fe80::1"),
        (("::ffff:192.0.2.1", 4711, 0, 0), "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_has_no_port_and_one_form(peername: object, expected: str) -> None:
    assert address(peername=peername) == expected


def test_two_ports_of_one_address_are_one_limit() -> None:
    assert {peer(peername=("192.0.2.1", port)).networks for port in (1, 2)} == {("192.0.2.1",)}


def test_an_ipv6_address_counts_with_its_neighbours_near_and_far() -> None:
    ends = {peer(peername=(f"2001:db8::{tail}", 1)).networks for tail in ("1", "ffff:2")}
    assert ends == {("2001:db8::/64", "2001:db8::/56", "2001:db8::/48")}
    other = peer(peername=("2001:db8:0:1ff::1", 1)).networks
    assert other == ("2001:db8:0:1ff::/64", "2001:db8:0:100::/56", "2001:db8::/48")


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.9", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_a_loopback_peer_is_this_machine(name: str | None, local: bool) -> None:
    assert is_this_machine(name, CIMultiDict()) is local
    assert is_this_machine((name, 1), CIMultiDict({"Host": "localhost:8080"})) is local


FORWARDING = (
    *("Forwarded", "X-Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
    *("X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Forwarded-Ssl"),
    *("X-Forwarded-By", "X-Original-Forwarded-For", "Forwarded-For", "Via", "X-Real-IP"),
    *("X-RealIP", "True-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Ray"),
    *("CF-Visitor", "CDN-Loop", "X-Client-IP", "X-ClientIP", "Client-IP"),
    *("X-Cluster-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "X-Envoy-External-Address"),
    *("X-Envoy-Expected-Rq-Timeout-Ms", "X-Azure-ClientIP", "X-Azure-SocketIP"),
    *("X-Appengine-User-IP", "X-Remote-IP", "X-Remote-Addr", "X-Originating-IP"),
    *("WL-Proxy-Client-IP", "Proxy-Client-IP", "X-ProxyUser-Ip", "X-NginX-Proxy"),
    *("Ali-CDN-Real-IP", "DO-Connecting-IP", "X-NF-Client-Connection-IP"),
    *("Tailscale-User-Login", "X-Amzn-Trace-Id", "X-Original-Host", "X-Original-URL"),
    *("X-Varnish", "X-Peer-Address", "X-Scheme", "X-Host", "X-Proxy-User"),
    *("X-Via", "X-BlueCoat-Via", "X-Real-Host", "X-Real-Port", "X-Server-Name", "X-Rewrite-URL"),
    *("X-Client", "X-Client-Port", "X-Client-Cert", "Ssl-Client-Verify", "X-Vercel-Id"),
    *("Client-Cert", "Client-Cert-Chain", "Remote-User", "HTTP_CLIENT_HOST", "X-Accel-Mapping"),
    *("Surrogate-Capability", "X-Auth-Request-User", "X-Request-Start", "X-Akamai-Edgescape"),
)


@pytest.mark.parametrize("name", FORWARDING)
@pytest.mark.parametrize("value", ["127.0.0.1", ""], ids=["loopback", "empty"])
def test_what_a_proxy_passes_on_is_not_of_this_machine(name: str, value: str) -> None:
    assert not is_this_machine(("127.0.0.1", 1), CIMultiDict({name.lower(): value}))


def test_what_programs_of_this_machine_send_is_of_this_machine() -> None:
    names = (
        *("User-Agent", "Accept", "Accept-Encoding", "Authorization", "Connection", "Cookie"),
        *(
            "X-Prometheus-Scrape-Timeout-Seconds",
            "X-Requested-With",
            "X-Request-ID",
            "X-B3-TraceId",
            "Traceparent",
            "Cache-Control",
            "Referer",
            "Origin",
        ),
        *("Sec-Fetch-Site", "Sec-CH-UA-Platform", "Upgrade-Insecure-Requests", "DNT", "Priority"),
    )
    assert is_this_machine(("::1", 1), CIMultiDict((name, "x") for name in names))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost:8080", True),
        ("LOCALHOST.", True),
        ("sb.localhost", True),
        ("127.0.0.1:8080", True),
        ("127.0.1.1", True),
        ("[::1]:8080", True),
        ("[::ffff:127.0.0.1]:8080", True),
        ("box", True),
        ("sb.example", False),
        ("127.0.0.1.sb.example", False),
        ("localhost.evil.example:8080", False),
        ("192.0.2.1:8080", False),
        ("[2001:db8::1]", False),
        ("", False),
        ("a b", False),
    ],
)
def test_a_request_for_another_host_is_not_of_this_machine(host: str, local: bool) -> None:
    assert is_this_machine(("127.0.0.1", 1), CIMultiDict({"Host": host})) is local


def test_headers_of_an_untrusted_peer_are_ignored() -> None:
    seen = peer(
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=198.51.100.7;proto=https;host=evil.example"),
        peername=("192.0.2.1", 1),
    )
    assert seen == Peer("192.0.2.1", "http", "inside:8080")


def test_a_trusted_proxy_tells_address_scheme_and_host() -> None:
    seen = peer(
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "sb.example"),
    )
    assert seen == Peer("198.51.100.7", "https", "sb.example")


def test_what_the_client_itself_wrote_before_the_proxy_is_ignored() -> None:
    assert address(("X-Forwarded-For", "127.0.0.1, 10.9.9.9, 198.51.100.7")) == "198.51.100.7"


def test_the_walk_passes_every_trusted_proxy() -> None:
    assert (
        address(
            ("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 10.0.0.3"), ("X-Forwarded-For", "fd00::2")
        )
        == "198.51.100.7"
    )


@pytest.mark.parametrize(
    "claimed", ["127.0.0.1", "::1", "[::1]:80", "::ffff:127.0.0.1", "127.8.8.8"]
)
@pytest.mark.parametrize("peername", [PROXY, "127.0.0.1"], ids=["from afar", "by a proxy here"])
def test_no_client_of_a_trusted_network_passes_as_loopback(claimed: str, peername: str) -> None:
    trusted = (*TRUSTED, ip_network("127.0.0.1"))

    def seen(name: str, value: str) -> str:
        headers = CIMultiDict({name: value})
        return resolve_peer((peername, 1), headers, "http", "inside", trusted).address

    assert seen("X-Forwarded-For", f"{claimed}, 10.9.9.9") == "10.9.9.9"
    assert seen("Forwarded", f'for="{claimed}", for=10.9.9.9') == "10.9.9.9"
    if peername == PROXY:
        assert seen("X-Forwarded-For", claimed) == PROXY
        assert seen("Forwarded", f'for="{claimed}"') == PROXY


def test_a_proxy_here_may_say_that_the_client_is_here_too() -> None:
    trusted = (ip_network("127.0.0.1"),)
    headers = CIMultiDict({"X-Forwarded-For": "::1"})
    assert resolve_peer(("127.0.0.1", 1), headers, "http", "inside", trusted).address == "::1"


@pytest.mark.parametrize(
    ("told", "scheme"), [("wss", "https"), ("WSS", "https"), ("ws", "http"), ("https", "https")]
)
def test_a_proxy_may_call_the_scheme_of_an_upgrade_ws(told: str, scheme: str) -> None:
    assert peer(("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-Proto", told)).scheme == scheme
    assert peer(("Forwarded", f"for=198.51.100.7;proto={told}")).scheme == scheme


def test_a_client_inside_the_trusted_network_is_the_farthest_one() -> None:
    assert address(("X-Forwarded-For", "10.0.0.9, 10.0.0.3")) == "10.0.0.9"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7:4711", "198.51.100.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_a_forwarded_port_is_left_out(text: str, expected: str) -> None:
    assert address(("X-Forwarded-For", text)) == expected
    assert address(("Forwarded", f'for="{text}"')) == expected


@pytest.mark.parametrize("garbage", ["unknown", "_hidden", "", ",,", "1.2.3", "<script>", "\udcff"])
def test_garbage_leaves_the_proxy_that_sent_it(garbage: str) -> None:
    assert address(("X-Forwarded-For", garbage)) == PROXY
    assert address(("X-Forwarded-For", f"198.51.100.7, {garbage or 'x'}, 10.0.0.3")) == (
        "198.51.100.7" if garbage == ",," else "10.0.0.3"
    )


def test_the_standard_header_is_read_when_the_other_is_absent() -> None:
    seen = peer(
        (
            "Forwarded",
            'for=6.6.6.6, For=198.51.100.7;Proto=HTTPS;host="sb.example:8443", for=10.0.0.3',
        ),
    )
    assert seen == Peer("198.51.100.7", "https", "sb.example:8443")


def test_a_clients_own_standard_header_does_not_beat_the_proxys() -> None:
    seen = address(("Forwarded", "for=127.0.0.1"), ("X-Forwarded-For", "198.51.100.7"))
    assert seen == "198.51.100.7"


def test_commas_inside_quotes_do_not_split() -> None:
    assert (
        address(("Forwarded", 'for="a,b", for=198.51.100.7;by="x, for=127.0.0.1"'))
        == "198.51.100.7"
    )


def test_a_proxy_that_tells_the_scheme_alone_is_believed() -> None:
    assert peer(("X-Forwarded-Proto", "https")) == Peer(PROXY, "https", "inside:8080")


def test_a_shorter_list_of_schemes_is_the_nearest_proxies() -> None:
    seen = peer(("X-Forwarded-For", "6.6.6.6, 198.51.100.7"), ("X-Forwarded-Proto", "https"))
    assert seen.scheme == "https"


@pytest.mark.parametrize("host", ["a b", "a/b", "a\r\nb", "", "[::1", "a:b", "x" * 300])
def test_a_scheme_or_host_that_is_none_is_ignored(host: str) -> None:
    seen = peer(
        ("X-Forwarded-For", "198.51.100.7"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", host),
    )
    assert (seen.scheme, seen.host) == ("http", "inside:8080")


HEADER = st.text(alphabet=st.sampled_from('for=;,"\\[]:.% 10abpt'), max_size=60)


@given(HEADER, HEADER)
def test_no_header_breaks_it(x_forwarded_for: str, forwarded: str) -> None:
    peer(("X-Forwarded-For", x_forwarded_for), ("Forwarded", forwarded))
    peer(("Forwarded", forwarded))


@pytest.mark.parametrize(
    "header",
    [
        'for="' + '\\"' * 4000,
        '"' * 8000,
        "a" * 8000,
        " " * 8000,
        "a=" * 4000,
        ";" * 8000,
        "," * 8000,
    ],
)
def test_a_long_header_of_nothing_leaves_the_proxy_that_sent_it(header: str) -> None:
    assert address(("Forwarded", header)) == PROXY


def test_a_walk_ends_after_32_hops() -> None:
    hops = ", ".join(["198.51.100.7"] + ["10.0.0.2"] * 32)
    assert address(("X-Forwarded-For", hops)) == "10.0.0.2"


def test_an_escaped_quote_does_not_end_the_quotes() -> None:
    header = r'for=6.6.6.6, for="a\", for=127.0.0.1", for=10.0.0.3'
    assert address(("Forwarded", header)) == "10.0.0.3"


@pytest.mark.parametrize("opened", ['for="', 'for="a, b', r'for="\\"', 'for=x"'])
@pytest.mark.parametrize("appended", ["for=198.51.100.7", 'for="198.51.100.7:4711";proto=https'])
def test_a_quote_that_a_client_leaves_open_does_not_hide_it(opened: str, appended: str) -> None:
    assert address(("Forwarded", f"{opened}, {appended}")) == "198.51.100.7"
    assert address(("Forwarded", opened), ("Forwarded", appended)) == "198.51.100.7"


# Origins

ALLOWED = (
    "https://app.example",
    "https://xn--mnchen-3ya.example",
    "http://localhost:5173",
    "http://localhost",
    "capacitor://localhost",
)


def verdict(origin: str | None, host: str, scheme: str = "http") -> OriginVerdict:
    return origin_verdict(origin, Peer("192.0.2.1", scheme, host), ALLOWED)


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "sb.example", "absent"),
        ("https://sb.example", "sb.example", "same"),
        ("http://sb.example", "sb.example", "same"),
        ("https://SB.example", "sb.EXAMPLE", "same"),
        ("https://sb.example.", "sb.example", "same"),
        ("https://sb.example", "sb.example.", "same"),
        ("https://sb.example.", "sb.example.:443", "same"),
        ("https://sb.example", "sb.example:443", "same"),
        ("https://sb.example:443", "sb.example", "same"),
        ("http://sb.example", "sb.example:80", "same"),
        ("https://xn--bcher-kva.example", "bücher.example", "same"),
        ("https://xn--bcher-kva.example", "xn--BCHER-kva.example", "same"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "same"),
        ("https://[2001:db8::1]:8443", "[2001:DB8::1]:8443", "same"),
        ("https://[2001:db8::1]", "[2001:db8:0:0::1]:443", "same"),
        ("http://my_box:8080", "my_box:8080", "same"),
        ("https://sb.example", "sb.example:80", "refused"),
        ("http://sb.example", "sb.example:443", "refused"),
        ("https://sb.example:8443", "sb.example", "refused"),
        ("https://sb.example", "sb.example:8443", "refused"),
        ("https://evil.example", "sb.example", "refused"),
        ("https://sb.example.evil.example", "sb.example", "refused"),
        ("https://evil-sb.example", "sb.example", "refused"),
        ("https://app.example", "sb.example", "allowed"),
        ("https://APP.example:443", "sb.example", "allowed"),
        ("https://app.example.", "sb.example", "allowed"),
        ("https://münchen.example", "sb.example", "allowed"),
        ("https://xn--mnchen-3ya.example", "sb.example", "allowed"),
        ("http://localhost:5173", "sb.example", "allowed"),
        ("http://localhost", "localhost:8080", "allowed"),
        ("capacitor://localhost", "sb.example", "allowed"),
        ("ionic://localhost", "sb.example", "refused"),
        ("capacitor://localhost", "localhost", "allowed"),
        ("ionic://localhost", "localhost", "refused"),
        ("http://app.example", "sb.example", "refused"),
        ("https://app.example:8443", "sb.example", "refused"),
        ("https://localhost", "sb.example", "refused"),
        ("null", "sb.example", "refused"),
        ("null", "null", "refused"),
        ("None", "None", "refused"),
        ("", "", "refused"),
        ("https://", "", "refused"),
        ("file://", "sb.example", "refused"),
        ("chrome-extension://sb.example", "sb.example", "refused"),
        ("https://sb.example/", "sb.example", "refused"),
        ("https://sb.example https://app.example", "sb.example", "refused"),
        ("https://sb.example, https://sb.example", "sb.example", "refused"),
        ("https://user@sb.example", "sb.example", "refused"),
        ("https://sb.example:", "sb.example", "refused"),
        ("https://sb.example:443x", "sb.example", "refused"),
        ("https://sb.example\n", "sb.example", "refused"),
        ("https://sb.example", "", "refused"),
        ("https://a,b", "sb.example", "refused"),
    ],
)
def test_an_origin_is(origin: str | None, host: str, expected: OriginVerdict) -> None:
    assert verdict(origin, host) == expected


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        (None, "sb.example", "absent"),
        ("https://sb.example", "sb.example", "same"),
        ("https://sb.example:8443", "sb.example:8443", "same"),
        ("http://sb.example", "sb.example", "refused"),
        ("HTTP://sb.example", "sb.example:80", "refused"),
        ("http://sb.example:443", "sb.example", "refused"),
        ("http://sb.example:443", "sb.example:443", "refused"),
        ("http://sb.example:8443", "sb.example:8443", "refused"),
        # Of the list, whatever scheme it has there.
        ("http://localhost:5173", "sb.example", "allowed"),
    ],
)
def test_no_page_of_http_is_an_https_servers_own(
    origin: str | None, host: str, expected: OriginVerdict
) -> None:
    assert verdict(origin, host, "https") == expected
