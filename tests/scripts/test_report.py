import json
from pathlib import Path

import pytest

from scripts.benchmark.measure import Run, summarise
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


def test_the_json_has_conditions_figures_and_single_runs(tmp_path: Path) -> None:
    figures = summarise({"floor": [run(5), run(6)]}, peer="floor")
    idle = Memories("ours", 10, 2048.0, 1024.0, 512.0, 0.01)
    results = [Result("echo", "pings", "floor", figures), Result("idle", "idle", "bare", [idle])]
    write_json(tmp_path / "figures.json", {"kernel": "Linux"}, results)
    document = json.loads((tmp_path / "figures.json").read_text())
    assert document["conditions"] == {"kernel": "Linux"}
    assert [one["cpu_us"] for one in document["results"][0]["figures"][0]["runs"]] == [5, 6]
    assert document["results"][1]["figures"][0]["rss"] == 2048
