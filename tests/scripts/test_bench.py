"""scripts/bench as a whole: in sizes so small that figures mean nothing, with --long in its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from scripts.benchmark.__main__ import SCENARIOS, main
from scripts.benchmark.plot import SHOWN
from scripts.benchmark.sizes import QUICK, Sizes
from tests.scripts.clones import ROOT

pytestmark = [pytest.mark.process, pytest.mark.trial]

SVG = "{http://www.w3.org/2000/svg}"
TIMED = ["CPU µs", "× floor", "per second", "p99.9 µs", "server busy", "load busy", "RSS MB"]
WRITES = ["per second", "of ceiling", "batch", "p50 µs", "p99 µs", "CPU µs", "writes"]
IDLE = ["connections", "RSS KB each", "PSS KB each", "above bare KB", "idle CPU"]
LATENCIES = ["p50 µs", "p99 µs", "p99.9 µs", "p99 × floor", "per second", "load busy"]
STALLS = ["p50 ms", "p99 ms", "p99.9 ms", "max ms", "samples", "passwords"]
AGES = ["messages", "upgrades", "RSS MB", "× warm", "descriptors"]
COLUMNS = {
    "idle": IDLE,
    "durable": WRITES,
    "latency": LATENCIES,
    "stall": STALLS,
    "memory": AGES,
}
THREE = ["floor", "naive", "ours"]
MAX_GROWTH = 1.05


@pytest.fixture(scope="module")
def sizes(pytestconfig: pytest.Config) -> Sizes:
    return Sizes() if pytestconfig.option.long else QUICK


@pytest.fixture(scope="module")
def bench(sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the benchmark prints, and the file that it writes."""
    folder = tmp_path_factory.mktemp("bench")
    quick = ["--quick"] if sizes is QUICK else []
    outcome = subprocess.run(
        [ROOT / "scripts/bench", *quick, "--json", "figures.json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout, folder / "figures.json"


@pytest.fixture
def results(bench: tuple[str, Path]) -> list[dict[str, Any]]:
    return list(json.loads(bench[1].read_text())["results"])


def figures(results: list[dict[str, Any]], scenario: str) -> list[dict[str, Any]]:
    """Return the rows of the first table of the scenario."""
    return next(list(one["figures"]) for one in results if one["scenario"] == scenario)


def table(printed: str, scenario: str) -> list[str]:
    return next(block for block in printed.split("\n\n") if block.startswith(scenario)).splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_all_its_columns(bench: tuple[str, Path], scenario: str) -> None:
    head = table(bench[0], f"{scenario}:")[1]
    for column in COLUMNS.get(scenario, TIMED):
        assert column in head


def servers(sizes: Sizes) -> dict[str, list[str]]:
    """Return the first column of each scenario's table."""
    some = sizes.stall_connections
    missed = [f"{n:,} missed" for n in (0, sizes.resume_missed, sizes.resume_long_missed)]
    ways = [f"{way}, {age}" for age in ("seen", "unseen") for way in ("header", "cookie")]
    senders = ("1 sender", f"{sizes.durable_senders} senders")
    return {
        **dict.fromkeys(("fanout", "others", "burst", "echo", "mixed", "latency"), THREE),
        "slow": ["floor", "naive", "ours, none stalled", "ours, 1 % stalled"],
        "tls": ["floor", "naive", "ours, without TLS", "ours"],
        "growth": [
            f"{server}, {count:,}"
            for count in sizes.growth_connections
            for server in ("floor", "ours")
        ],
        "connect": ["floor", "bare aiohttp", *(f"ours, {way}" for way in ways)],
        "resume": [f"ours, {way}" for way in ("plain connect", *missed)],
        "stall": [f"{some:,} connect, {some:,} resume", f"one message to {2 * some:,}", "both"],
        "idle": ["floor", "bare", "naive", "ours"],
        "memory": ["ours, warm", *["ours"] * (sizes.memory_parts - 1)],
        "durable": [
            f"{writer} {count}" for count in senders for writer in ("bare SQLite, as", "ours,")
        ],
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_server_has_its_row(bench: tuple[str, Path], sizes: Sizes, scenario: str) -> None:
    rows = table(bench[0], f"{scenario}:")[3:]
    shown = [row.split("  ")[0] for row in rows if not row.startswith("!")]
    assert shown == servers(sizes)[scenario]


def test_nothing_is_left_of_connections_that_come_and_go(
    results: list[dict[str, Any]], sizes: Sizes
) -> None:
    rows = figures(results, "memory")
    each = (sizes.memory_reconnects + 1) * sizes.users * sizes.devices
    assert [row["upgrades"] for row in rows] == [
        each * (part + 1) for part in range(sizes.memory_parts)
    ]
    assert len({row["descriptors"] for row in rows}) == 1
    if sizes is not QUICK:
        # Of docs/performance.md; in small sizes the first part is too short to warm anything up.
        assert rows[-1]["to_warm"] <= MAX_GROWTH


def test_what_was_acknowledged_was_stored(results: list[dict[str, Any]], sizes: Sizes) -> None:
    rows = figures(results, "durable")
    alone = sizes.runs * sizes.durable_sends_alone
    together = sizes.runs * sizes.durable_sends * sizes.durable_senders
    assert [row["operations"] for row in rows] == [alone, alone, together, together]
    # One sender alone has each of its messages committed by itself.
    assert rows[1]["batch"] == 1
    assert 1 <= rows[3]["batch"] <= sizes.durable_senders
    assert all(row["to_ceiling"] == 1 for row in (rows[0], rows[2]))


def test_everybody_in_a_group_but_the_sender_gets_a_message_to_others(
    results: list[dict[str, Any]], sizes: Sizes
) -> None:
    messages = sizes.runs * sizes.others_rounds * sizes.users
    wanted = [messages * (sizes.devices - 1)] * 3
    assert [row["operations"] for row in figures(results, "others")] == wanted


def test_the_figures_are_drawn(bench: tuple[str, Path], sizes: Sizes, tmp_path: Path) -> None:
    drawing = tmp_path / "figures.svg"
    command = [sys.executable, "-m", "scripts.benchmark", "--from", bench[1], "--plot", drawing]
    subprocess.run(command, cwd=ROOT, check=True)
    bars = [one.get("class") for one in fromstring(drawing.read_text()) if one.tag == f"{SVG}rect"]
    # Each table has two servers beside ours; that of TLS has two rows of ours.
    tables = len(SHOWN) - 1 + len(sizes.fanout_connections)
    assert (bars.count("bar"), bars.count("own")) == (2 * tables, tables + 1)


def test_the_conditions_are_stated(bench: tuple[str, Path]) -> None:
    for word in ("processor", "kernel", "python", "aiohttp", "MESSAGES_PER_SECOND=0"):
        assert word in bench[0].split("\n\n")[0]


def test_the_file_lies_where_it_was_asked_for_and_has_it_all(
    results: list[dict[str, Any]], sizes: Sizes
) -> None:
    assert list(dict.fromkeys(result["scenario"] for result in results)) == list(SCENARIOS)
    ours = figures(results, "fanout")[2]
    # Of the first table, whose rounds make this many deliveries in a turn.
    assert (ours["server"], ours["operations"]) == ("ours", sizes.runs * sizes.fanout_deliveries)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runs", "0"],
        ["--scenario", "nonsense"],
        ["--peers", "picows,nonsense"],
        ["--from", "figures.json"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "error: " in capsys.readouterr().err
