"""deploy/alerts.yml and deploy/grafana-dashboard.json ask for what a running server shows."""

import asyncio
import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import ClientSession
from serving import NO_LIMITS, Server

from app.keys import METRICS
from tests.scrape import Scrape
from tests.scripts.programs import program
from tests.scripts.promql import Shown, Unfit

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
ALERTS: Final = DEPLOY / "alerts.yml"
DASHBOARD: Final = json.loads((DEPLOY / "grafana-dashboard.json").read_text())

PROMETHEUS_ADDS: Final = {"job": "switchboard", "instance": "127.0.0.1:8080"}
"""Labels that the scrape itself has not."""

GRAFANA_PUTS: Final = {"$__rate_interval": "1m", "$job": "switchboard", "$instance": ".+"}


def rules() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@dataclass(frozen=True, slots=True)
class Target:
    """A query of a panel, as Prometheus gets it."""

    panel: str
    expression: str
    legend: str


def targets() -> Iterator[Target]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in GRAFANA_PUTS.items():
                expression = expression.replace(variable, value)
            yield Target(panel["title"], expression, target["legendFormat"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """What Prometheus scrapes of a server that has taken a message of each kind."""
    scrape = asyncio.run(scrape_of_a_server(tmp_path_factory.mktemp("data")))
    samples: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for one in scrape.samples:
        samples[one.name].append({**one.labels, **PROMETHEUS_ADDS})
    # Prometheus' own, on whether the scrape came to pass.
    samples["up"] = [PROMETHEUS_ADDS]
    return Shown(dict(samples))


async def scrape_of_a_server(data_dir: Path) -> Scrape:
    async with Server(data_dir, **NO_LIMITS) as server:
        peer = await server.connect(await server.device(), "?instance=one")
        payload = {"to": "others", "type": "note.text", "payload": 1}
        await peer.ask("device.send", payload)
        await peer.ask("device.send", {**payload, "store": "log"})
        # As does a feature of the operator's that asks a database.
        server.app[METRICS].handler_took("note", 0.1)
        async with ClientSession() as http, http.get(f"http://{server.host}/metrics") as answer:
            return Scrape.read(await answer.text())


@pytest.mark.parametrize("name", list(rules()))
def test_an_alert_asks_for_what_a_server_shows(name: str, shown: Shown) -> None:
    rule = rules()[name]
    labels = shown.labels(rule["expr"])
    told = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels


@pytest.mark.parametrize("target", list(targets()), ids=lambda one: f"{one.panel}: {one.legend}")
def test_a_panel_asks_for_what_a_server_shows(target: Target, shown: Shown) -> None:
    labels = shown.labels(target.expression)
    assert set(re.findall(r"{{(\w+)}}", target.legend)) <= labels


@pytest.mark.parametrize(
    "expression",
    [
        "switchboard_no_such_metric > 0",
        'switchboard_connections_closed_total{code="4999"}',
        'switchboard_connections_closed_total{reason="too_slow"}',
        "sum by (prefix) (switchboard_connections_closed_total)",
        "histogram_quantile(0.9, sum by (le) (rate(switchboard_connections[5m])))",
        "switchboard_sockets / switchboard_removal_last_seconds",
    ],
)
def test_what_no_server_shows_is_found(expression: str, shown: Shown) -> None:
    with pytest.raises(Unfit):
        shown.labels(expression)


def test_text_that_is_no_promql_is_found(shown: Shown) -> None:
    with pytest.raises(ValueError, match="unclosed"):
        shown.labels("rate(switchboard_connections[5m]")


@pytest.mark.parametrize("name", list(rules()))
def test_an_alert_says_what_is_wrong_and_what_to_run(name: str) -> None:
    rule = rules()[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert "$labels.instance" in summary
    commands = r"systemctl|journalctl|curl|df|ls|fuser|python -m app|iostat|top|ss|du|timedatectl"
    assert re.search(rf"\b({commands}) ", description)


def test_the_dashboard_takes_any_data_source_and_its_panels_lie_apart() -> None:
    variables = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    questions = [one["title"] for one in DASHBOARD["panels"] if one["type"] == "row"]
    assert questions == [
        "Is it up?",
        "Who waits?",
        "What is lost?",
        "What fills?",
        "Who is refused?",
    ]


# The thresholds, judged by Prometheus' own tester. Series are of two hours, a sample a minute.


@dataclass(frozen=True, slots=True)
class Case:
    """Series by which an alert fires, and the same, a little better, by which none does."""

    sick: Mapping[str, str]
    well: Mapping[str, str]


def growing(series: str, sick: str, well: str, start: str = "0") -> Case:
    """Return a case of a counter that grows by so much in a minute."""
    return Case({series: f"{start}+{sick}x120"}, {series: f"{start}+{well}x120"})


def steady(series: str, sick: str, well: str) -> Case:
    return Case({series: f"{sick}x120"}, {series: f"{well}x120"})


def timed(name: str, slow: str, all_: str, bound: str) -> Mapping[str, str]:
    """Return a histogram of which `slow` of `all_` observations a minute are above the bound."""
    fast = float(all_) - float(slow)
    return {
        f'{name}_bucket{{le="{bound}"}}': f"0+{fast}x120",
        f'{name}_bucket{{le="1.0"}}': f"0+{all_}x120",
        f'{name}_bucket{{le="+Inf"}}': f"0+{all_}x120",
    }


LAG, COMMIT = "switchboard_loop_lag_seconds", "switchboard_commit_seconds"
ENDED = 'switchboard_removal_last_timestamp_seconds{work="retention"}'

CASES: Final[Mapping[str, Case]] = {
    "SwitchboardDown": steady("up", "0+0", "1+0"),
    "SwitchboardNotReady": steady("switchboard_ready", "0+0", "1+0"),
    "SwitchboardRestarts": growing("process_start_time_seconds", "60", "0"),
    "SwitchboardLoopLag": Case(timed(LAG, "2", "100", "0.1"), timed(LAG, "0.5", "100", "0.1")),
    "SwitchboardCommitSlow": Case(
        timed(COMMIT, "20", "100", "0.1"), timed(COMMIT, "5", "100", "0.1")
    ),
    "SwitchboardAppendsWaiting": steady("switchboard_appends_waiting", "301+0", "300+0"),
    "SwitchboardSlowConnectionsClosed": growing(
        'switchboard_connections_closed_total{code="4002"}', "2", "1"
    ),
    "SwitchboardStorageErrors": growing(
        'switchboard_storage_errors_total{reason="SQLITE_FULL"}', "1", "0", start="7"
    ),
    "SwitchboardDatabaseGone": steady("switchboard_database_in_place", "0+0", "1+0"),
    "SwitchboardMessagesDamaged": growing(
        "switchboard_messages_damaged_total", "1", "0", start="7"
    ),
    "SwitchboardResets": Case(
        {
            'switchboard_resets_total{reason="removed"}': "0+5x120",
            'switchboard_resumes_total{outcome="reset"}': "0+5x120",
            'switchboard_resumes_total{outcome="resumed"}': "0+10x120",
        },
        {
            'switchboard_resets_total{reason="removed"}': "0+5x120",
            'switchboard_resumes_total{outcome="reset"}': "0+5x120",
            'switchboard_resumes_total{outcome="resumed"}': "0+90x120",
        },
    ),
    "SwitchboardServerErrors": Case(
        {
            'switchboard_http_answers_total{class="5xx",family="backend"}': "0+10x120",
            'switchboard_http_answers_total{class="2xx",family="backend"}': "0+100x120",
        },
        {
            'switchboard_http_answers_total{class="5xx",family="backend"}': "0+4x120",
            'switchboard_http_answers_total{class="2xx",family="backend"}': "0+100x120",
        },
    ),
    "SwitchboardFailedConnections": growing(
        'switchboard_connections_closed_total{code="1011"}', "1", "0", start="7"
    ),
    "SwitchboardLogLost": growing("switchboard_log_lines_dropped_total", "1", "0", start="7"),
    "SwitchboardDiskFilling": Case(
        {"switchboard_disk_free_bytes": "25e9-1e8x120", "switchboard_disk_bytes": "100e9+0x120"},
        {"switchboard_disk_free_bytes": "25e9-1e6x120", "switchboard_disk_bytes": "100e9+0x120"},
    ),
    "SwitchboardDiskFull": Case(
        {"switchboard_disk_free_bytes": "1.9e8+0x120", "switchboard_disk_bytes": "100e9+0x120"},
        {"switchboard_disk_free_bytes": "2.1e8+0x120", "switchboard_disk_bytes": "100e9+0x120"},
    ),
    "SwitchboardDiskHangs": steady("switchboard_disk_look_age_seconds", "31+0", "29+0"),
    "SwitchboardWalGrows": steady("switchboard_wal_bytes", "257e6+0", "255e6+0"),
    "SwitchboardRetentionStuck": Case(
        {ENDED: "0+0x120", "process_start_time_seconds": "0+0x120"},
        {ENDED: "0+60x120", "process_start_time_seconds": "0+0x120"},
    ),
    "SwitchboardSocketsNearLimit": Case(
        {"switchboard_sockets": "86+0x120", "switchboard_sockets_limit": "100+0x120"},
        {"switchboard_sockets": "84+0x120", "switchboard_sockets_limit": "100+0x120"},
    ),
    "SwitchboardAcceptFailures": growing(
        'switchboard_accept_failures_total{reason="EMFILE"}', "1", "0", start="7"
    ),
    "SwitchboardSignInsFail": growing(
        'switchboard_sign_ins_failed_total{reason="invalid_credentials"}', "31", "29"
    ),
    "SwitchboardOverloaded": growing(
        'switchboard_connections_refused_total{reason="overloaded"}', "1", "0", start="7"
    ),
    "SwitchboardClockAhead": steady("switchboard_clock_ahead_seconds", "1+0", "0+0"),
}

FIRES_TOO: Final = {"SwitchboardDiskFull": {"SwitchboardDiskFilling"}}
"""Alerts that another one's fault is one of, too."""


def test_each_alert_has_its_case() -> None:
    assert CASES.keys() == rules().keys()


def series(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the series as promtool takes them, with the labels that Prometheus adds."""
    added = ",".join(f'{name}="{value}"' for name, value in PROMETHEUS_ADDS.items())
    return [
        {"series": f"{name.rstrip('}')}{',' if '{' in name else '{'}{added}}}", "values": given}
        for name, given in values.items()
    ]


def expectation(values: Mapping[str, str], firing: set[str]) -> dict[str, Any]:
    """Return a test of promtool: which alerts fire after two hours, and no other."""
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)]
    asked = 'count by (alertname) (ALERTS{alertstate="firing"})'
    return {
        "interval": "1m",
        "input_series": series(values),
        "promql_expr_test": [{"expr": asked, "eval_time": "2h", "exp_samples": samples}],
    }


@pytest.mark.process
def test_prometheus_fires_each_alert_at_its_threshold_and_not_before(tmp_path: Path) -> None:
    promtool = program("promtool")
    tests = []
    for name, case in CASES.items():
        also = FIRES_TOO.get(name, set())
        tests += [expectation(case.sick, {name, *also}), expectation(case.well, also)]
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "tests": tests}))
    for arguments in (("check", "rules", ALERTS), ("test", "rules", file)):
        outcome = subprocess.run([promtool, *arguments], capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
