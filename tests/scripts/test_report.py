import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from scripts.benchmark import latency, stall
from scripts.benchmark.growth import relative
from scripts.benchmark.load import Phase
from scripts.benchmark.measure import Run, summarise
from scripts.benchmark.plot import plot
from scripts.benchmark.report import Memories, Result, show, write_json


def run(cpu_us: float, *, server_busy: float = 1.0, load_busy: float = 0.5) -> Run:
    return Run(cpu_us, 1000, 10, 20, server_busy, load_busy, 100)


def test_ratios_are_medians_of_pairs_measured_in_turn() -> None:
    # The machine was twice as slow in the second turn: the pairs still agree.
    floor, ours, peer = summarise(
        {
            "floor": [run(5), run(10), run(5)],
            "ours": [run(6), run(12), run(6)],
            "naive": [run(20), run(40), run(20)],
        },
        peer="naive",
    )
    assert (floor.to_floor, floor.to_peer) == (1, 0.25)
    assert (ours.to_floor, ours.to_peer) == (pytest.approx(1.2), pytest.approx(0.3))
    assert (peer.cpu_us, peer.to_peer, peer.operations) == (20, 1, 300)


@pytest.mark.parametrize(
    ("server_busy", "load_busy", "limited"),
    [(0.5, 0.95, True), (0.99, 0.95, False), (0.5, 0.5, False)],
)
def test_a_busy_generator_beside_an_idle_server_is_named(
    server_busy: float, load_busy: float, limited: bool
) -> None:
    runs = {"floor": [run(5, server_busy=server_busy, load_busy=load_busy)]}
    table = show(Result("echo", "pings", "floor", summarise(runs, peer="floor")))
    assert ("the load generator was the bottleneck" in table) is limited


def test_what_was_not_measured_has_no_ratio(tmp_path: Path) -> None:
    rows = summarise({"plain": [run(4)], "ours": [run(5)]}, peer="plain")
    result = Result("resume", "devices", "plain", rows)
    assert [line.split()[2] for line in show(result).splitlines()[3:]] == ["–", "–"]
    write_json(tmp_path / "figures.json", {}, [result])
    figures = json.loads((tmp_path / "figures.json").read_text())["results"][0]["figures"]
    assert [(row["to_floor"], row["to_peer"]) for row in figures] == [(None, 1), (None, 1.25)]


def test_growth_is_the_ratio_to_the_floor_beside_that_at_a_hundred() -> None:
    rows = [
        row
        for count, floor, ours in ((100, 5, 6), (10_000, 8, 12))
        for row in summarise(
            {f"floor, {count}": [run(floor)], f"ours, {count}": [run(ours)]},
            peer=f"floor, {count}",
            floor=f"floor, {count}",
        )
    ]
    growth = {row.server: row.to_peer for row in relative(rows, "ours, 100")}
    assert growth["ours, 100"] == 1
    assert growth["ours, 10000"] == pytest.approx((12 / 8) / (6 / 5))


def phase(p99_us: float, *, seconds: float = 2) -> Phase:
    return Phase(800, 200, seconds, 0.5, 0, 10, p99_us, 3 * p99_us, 9 * p99_us)


def test_latencies_are_compared_turn_by_turn() -> None:
    floors = [(phase(100), 0.1), (phase(400), 0.1), (phase(100), 0.1)]
    row = latency.summarise("ours", [(phase(p99), 0.5) for p99 in (150, 600, 150)], floors)
    assert (row.p99_to_floor, row.p99_us, row.per_second) == (1.5, 150, 100)
    assert (row.messages, row.server_busy, row.load_busy) == (600, 0.5, 0.25)


def test_stalls_are_percentiles_of_all_that_was_seen() -> None:
    row = stall.summarise("storm", [1000] * 989 + [20_000] * 10 + [90_000], 7)
    assert (row.p50_ms, row.p99_ms, row.max_ms, row.samples) == (1, 20, 90, 1000)


def test_what_is_missing_is_said_under_the_table() -> None:
    rows = summarise({"floor": [run(5)]}, peer="floor")
    table = show(Result("fanout", "one", "floor", rows, ("bun is missing: no binary",)))
    assert table.splitlines()[-1] == "! bun is missing: no binary"
    assert show(Result("tls", "one", "floor", [], ("not measured",))) == "tls: one\n! not measured"


def test_the_plot_has_a_bar_for_each_server_and_escapes_its_words() -> None:
    rows = [{"server": "ours", "to_floor": 1.2}, {"server": "<peer>", "to_floor": 3}]
    result = {"scenario": "fanout", "what": "a & b", "figures": [*rows, {"server": "unknown"}]}
    drawing = fromstring(plot({"conditions": {"date": "today"}, "results": [result]}))
    widths = [float(one.get("width", "0")) for one in drawing if one.tag.endswith("rect")]
    assert widths[1] == pytest.approx(widths[0] / 1.2 * 3, rel=0.01)
    texts = [one.text for one in drawing if one.tag.endswith("text")]
    assert {"fanout: a & b", "<peer>", "1.20"} <= set(texts)


def test_the_json_has_conditions_figures_and_single_runs(tmp_path: Path) -> None:
    figures = summarise({"floor": [run(5), run(6)]}, peer="floor")
    idle = Memories("ours", 10, 2048.0, 1024.0, 512.0, 0.01)
    results = [Result("echo", "pings", "floor", figures), Result("idle", "idle", "bare", [idle])]
    write_json(tmp_path / "figures.json", {"kernel": "Linux"}, results)
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["conditions"] == {"kernel": "Linux"}
    assert [one["cpu_us"] for one in document["results"][0]["figures"][0]["runs"]] == [5, 6]
    assert document["results"][1]["figures"][0]["rss"] == 2048
