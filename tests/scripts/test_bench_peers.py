import sys
from pathlib import Path

import pytest

from scripts.benchmark import lineup, servers
from scripts.benchmark.__main__ import main
from scripts.benchmark.load import Speech
from scripts.benchmark.ours import ours_in_shape
from scripts.benchmark.peers import catalogue
from scripts.benchmark.peers.catalogue import NotInstalled, Peer, installed
from scripts.benchmark.servers import Program, Shape, Tools

pytestmark = pytest.mark.process


@pytest.mark.parametrize("module", ["picows_server", "websockets_server"])
def test_the_peers_of_python_deliver_as_the_floor_does(module: str, tools: Tools) -> None:
    program = Program(module, [sys.executable, "-m", f"scripts.benchmark.peers.{module}"])
    with program(tools, Shape(6, 3)) as server:
        server.load.open(0, 6)
        assert server.load.play("others", 5, size=3, groups=2).operations == 5 * 2 * 2
        assert server.load.play("fanout", 5, size=3, groups=2, burst=4).operations == 5 * 2 * 3 * 4
        assert server.load.echo(5, 6).operations == 30
        assert server.load.close().operations == 6


def test_a_peer_that_cannot_be_had_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> list[str | Path]:
        raise NotInstalled("npm ended with 1: no such package")

    monkeypatch.setitem(catalogue.PEERS, "bun", Peer(refused))
    monkeypatch.setitem(catalogue.PEERS, "ws", Peer(lambda: ["sh", "-c", "echo 8080"]))
    programs, missing = installed(["ws", "bun"])
    assert [program.name for program in programs] == ["ws"]
    assert missing == ["bun is missing: npm ended with 1: no such package"]


def test_a_peer_that_does_not_start_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = Peer(lambda: ["sh", "-c", "echo 'no such file' >&2; exit 1"])
    monkeypatch.setitem(catalogue.PEERS, "ws", faulty)
    assert installed(["ws"]) == ([], ["ws is missing: it does not start: no such file"])


def test_a_missing_peer_stands_in_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> list[str | Path]:
        raise NotInstalled("there is no node")

    monkeypatch.setitem(catalogue.PEERS, "ws", Peer(refused))
    assert main(["--quick", "--connections", "3", "--scenario", "echo", "--peers", "ws"]) == 0
    printed = capsys.readouterr()
    assert "\n! ws is missing: there is no node\n" in printed.out
    assert "! ws is missing" in printed.err


def test_a_lock_that_cannot_be_installed_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("this is no lock")
    with pytest.raises(NotInstalled, match="npm ended with"):
        catalogue.node_modules(tmp_path)


def test_a_machine_without_npm_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package-lock.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalled, match="npm could not be run"):
        catalogue.node_modules(tmp_path)


def test_what_is_installed_from_this_lock_is_not_installed_again(tmp_path: Path) -> None:
    lock, marker = tmp_path / "lock", tmp_path / "marker"
    lock.write_text("one")
    times: list[int] = []
    for text in ("one", "one", "two"):
        lock.write_text(text)
        catalogue.install_once(lock, marker, lambda: times.append(1))
    assert len(times) == 2


def test_a_peer_takes_part_only_in_what_it_can_say(tools: Tools) -> None:
    silent = Program("silent", ["true"], speech=Speech(()))
    plain = Program("plain", ["true"])
    starts = lineup.Lineup(tools, [silent, plain]).starts("others")
    assert starts == [servers.floor, servers.naive, plain, ours_in_shape]
