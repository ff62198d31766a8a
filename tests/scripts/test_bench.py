"""scripts/bench as a whole, in sizes so small that its figures mean nothing."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from scripts.benchmark.__main__ import SCENARIOS, main

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"
TIMED = ["CPU µs", "× floor", "per second", "p99.9 µs", "server busy", "load busy", "RSS MB"]
WRITES = ["per second", "of ceiling", "batch", "p50 µs", "p99 µs", "CPU µs", "writes"]
IDLE = ["connections", "RSS KB each", "PSS KB each", "above bare KB", "idle CPU"]
LATENCIES = ["p50 µs", "p99 µs", "p99.9 µs", "p99 × floor", "per second", "load busy"]
STALLS = ["p50 ms", "p99 ms", "p99.9 ms", "max ms", "looks", "passwords"]
AGES = ["messages", "upgrades", "RSS MB", "× warm", "descriptors"]
COLUMNS = {
    "idle": IDLE,
    "durable": WRITES,
    "latency": LATENCIES,
    "stall": STALLS,
    "memory": AGES,
}
THREE = ["floor", "naive", "ours"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What `bench --quick` prints, and the file that it writes."""
    folder = tmp_path_factory.mktemp("bench")
    outcome = subprocess.run(
        [ROOT / "scripts/bench", "--quick", "--json", "figures.json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout, folder / "figures.json"


def table(printed: str, scenario: str) -> list[str]:
    return next(block for block in printed.split("\n\n") if block.startswith(scenario)).splitlines()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_has_all_its_columns(bench: tuple[str, Path], scenario: str) -> None:
    head = table(bench[0], f"{scenario}:")[1]
    for column in COLUMNS.get(scenario, TIMED):
        assert column in head


@pytest.mark.parametrize(
    ("scenario", "servers"),
    [
        *((name, THREE) for name in ("fanout", "others", "burst", "echo", "mixed", "latency")),
        ("slow", ["floor", "naive", "ours, none stalled", "ours, 1 % stalled"]),
        ("tls", ["floor", "naive", "ours, without TLS", "ours"]),
        ("growth", ["floor, 10", "ours, 10", "floor, 20", "ours, 20"]),
        (
            "resume",
            ["ours, plain connect", "ours, 0 missed", "ours, 3 missed", "ours, 30 missed"],
        ),
        ("stall", ["40 connect, 40 resume", "one message to 80", "both"]),
        (
            "connect",
            ["floor", "bare aiohttp"]
            + [f"ours, {way}, {age}" for age in ("seen", "unseen") for way in ("header", "cookie")],
        ),
        ("idle", ["floor", "bare", "naive", "ours"]),
        ("memory", ["ours, warm", "ours", "ours"]),
        (
            "durable",
            [
                f"{writer} {senders}"
                for senders in ("1 sender", "8 senders")
                for writer in ("bare SQLite, as", "ours,")
            ],
        ),
    ],
)
def test_every_server_has_its_row(
    bench: tuple[str, Path], scenario: str, servers: list[str]
) -> None:
    rows = table(bench[0], f"{scenario}:")[3:]
    assert [row.split("  ")[0] for row in rows if not row.startswith("!")] == servers


def test_no_descriptor_is_left_of_connections_that_come_and_go(bench: tuple[str, Path]) -> None:
    results = json.loads(bench[1].read_text())["results"]
    [rows] = [one["figures"] for one in results if one["scenario"] == "memory"]
    assert [row["upgrades"] for row in rows] == [60, 120, 180]
    assert len({row["descriptors"] for row in rows}) == 1


def test_what_was_acknowledged_was_stored(bench: tuple[str, Path]) -> None:
    rows = json.loads(bench[1].read_text())["results"][-1]["figures"]
    assert [row["operations"] for row in rows] == [2 * 20, 2 * 20, 2 * 8 * 10, 2 * 8 * 10]
    # One sender alone has each of its messages committed by itself.
    assert rows[1]["batch"] == 1
    assert 1 <= rows[3]["batch"] <= 8
    assert all(row["to_ceiling"] == 1 for row in (rows[0], rows[2]))


def test_everybody_in_a_group_but_the_sender_gets_a_message_to_others(
    bench: tuple[str, Path],
) -> None:
    results = json.loads(bench[1].read_text())["results"]
    others = next(result for result in results if result["scenario"] == "others")
    # 2 turns of 5 rounds in each of 4 groups, to 4 devices.
    assert [row["operations"] for row in others["figures"]] == [2 * 5 * 4 * 4] * 3


def test_the_figures_are_drawn(bench: tuple[str, Path], tmp_path: Path) -> None:
    drawing = tmp_path / "figures.svg"
    command = [sys.executable, "-m", "scripts.benchmark", "--from", bench[1], "--plot", drawing]
    subprocess.run(command, cwd=ROOT, check=True)
    bars = [one.get("class") for one in fromstring(drawing.read_text()) if one.tag == f"{SVG}rect"]
    # Six scenarios of at least three servers; that of TLS has two rows of ours.
    assert (bars.count("bar"), bars.count("own")) == (12, 7)


def test_the_conditions_are_stated(bench: tuple[str, Path]) -> None:
    for word in ("processor", "kernel", "python", "aiohttp", "MESSAGES_PER_SECOND=0"):
        assert word in bench[0].split("\n\n")[0]


def test_the_file_lies_where_it_was_asked_for_and_has_it_all(bench: tuple[str, Path]) -> None:
    document = json.loads(bench[1].read_text())
    assert [result["scenario"] for result in document["results"]] == list(SCENARIOS)
    deliveries = document["results"][0]["figures"][2]
    assert (deliveries["server"], deliveries["operations"]) == ("ours", 2 * 20 * 40)


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
