"""tls: one message to every connection of a user, over TLS that the servers do themselves."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.benchmark.compiler import compile_program, has_tls
from scripts.benchmark.lineup import Lineup
from scripts.benchmark.measure import Contender, alternate, summarise
from scripts.benchmark.ours import one_user, ours
from scripts.benchmark.report import Result
from scripts.benchmark.servers import (
    Certificate,
    Server,
    Shape,
    Tools,
    floor_program,
    naive_program,
)
from scripts.benchmark.sizes import Sizes

WITHOUT = "ours, without TLS"
MISSING = (
    "not measured: OpenSSL's headers are missing (on Debian and Ubuntu: apt install libssl-dev)"
)


def certificate(folder: Path) -> Certificate:
    """Write a certificate for 127.0.0.1, valid for a day, and its key; return the files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / "certificate.pem", folder / "key.pem")
    files.chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _start(lineup: Lineup, count: int, stack: ExitStack) -> list[Server]:
    plain, folder = lineup.tools, lineup.tools.folder
    files = certificate(folder)
    floor, load = (compile_program(name, folder, tls=True) for name in ("floor", "load"))
    tools, shape, user = Tools(floor, load, folder), Shape(count), one_user(count)
    return [
        stack.enter_context(floor_program(tools, tls=files)(tools, shape)),
        stack.enter_context(naive_program(files)(tools, shape)),
        stack.enter_context(ours(plain, user, name=WITHOUT)),
        stack.enter_context(ours(tools, user, tls=files)),
    ]


def run(lineup: Lineup, sizes: Sizes) -> Sequence[Result]:
    """Return the cost of one delivery over TLS, or a note that it could not be measured."""
    count = sizes.tls_connections
    what = f"one message to {count:,} connections over TLS 1.3, per delivery"
    if not has_tls(lineup.tools.folder):
        return [Result("tls", what, "naive", [], (MISSING,))]
    with ExitStack() as stack:
        started = _start(lineup, count, stack)
        for server in started:
            server.load.open(0, count)
            server.load.fanout(sizes.warm_up)
        contenders = [
            Contender(one.name, one, lambda load: load.fanout(sizes.tls_rounds)) for one in started
        ]
        figures = summarise(alternate(contenders, sizes.runs), peer="naive")
    return [Result("tls", what, "naive", figures)]
