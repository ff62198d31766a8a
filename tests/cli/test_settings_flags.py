"""Settings on the command line: flags, sources, masks and faults."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from app.cli.main import commands
from app.settings import Settings

SECRETS = {
    name
    for name, field in Settings.model_fields.items()
    if SecretStr.__name__ in repr(field.annotation)
}


def invoke(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == status, result.output
    return result


def effective(*flags: str) -> dict[str, dict[str, Any]]:
    settings = json.loads(invoke("config", "--json", *flags).stdout)
    return {one["name"]: one for one in settings}


@pytest.mark.parametrize("command", ["serve", "config"])
def test_every_setting_but_the_secrets_has_a_flag(command: str) -> None:
    flags = set(re.findall(r"^ +--([a-z-]+)", invoke(command, "--help").stdout, re.MULTILINE))
    names = {name.replace("_", "-") for name in Settings.model_fields if name not in SECRETS}
    assert flags - {"json", "help", "new-database"} == names - {"json"}


def test_a_flags_help_has_what_unit_and_default() -> None:
    text = " ".join(invoke("serve", "--help").stdout.split())
    assert "Frames waiting for one slow connection. In frames. [default: 32]" in text


@pytest.mark.parametrize("name", ["cookie_keys", "metrics_token", "jwt_secret"])
def test_a_secret_has_its_variable_in_the_help_of_serve(name: str) -> None:
    assert name in SECRETS
    assert f"SWITCHBOARD_{name.upper()}" in invoke("serve", "--help").stdout


def test_each_setting_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_HOST", "0.0.0.0")
    monkeypatch.setenv("SWITCHBOARD_PORT", "1")
    found = effective("--port", "2")
    assert (found["host"]["value"], found["host"]["source"]) == ("0.0.0.0", "environment")
    assert (found["port"]["value"], found["port"]["source"]) == ("2", "flag")
    assert found["log_level"]["source"] == "default"
    assert found["heartbeat_seconds"]["unit"] == "seconds"
    assert all(one["what"] for one in found.values())
    assert found.keys() == Settings.model_fields.keys()


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_METRICS_TOKEN", "sesame-open-the-door")
    for output in (invoke("config").output, invoke("config", "--json").output):
        assert "sesame-open" not in output
        assert "********" in output


def test_each_fault_is_one_sentence_on_stderr_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_PORT", "many")
    for command in ("serve", "config"):
        result = invoke(command, "--max-outbox-frames", "0", status=2)
        first, second = sorted(result.stderr.splitlines())
        assert first.startswith("Error: --max-outbox-frames: ")
        assert second.startswith("Error: SWITCHBOARD_PORT: ")
        assert result.stdout == ""


def test_a_fault_does_not_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_JWT_ALGORITHM", "HS256")
    monkeypatch.setenv("SWITCHBOARD_JWT_ISSUER", "x")
    monkeypatch.setenv("SWITCHBOARD_JWT_AUDIENCE", "x")
    monkeypatch.setenv("SWITCHBOARD_JWT_SECRET", "sesame")
    assert "sesame" not in invoke("config", status=2).output


def test_a_variable_that_is_no_setting_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_PROT", "1")
    monkeypatch.setenv("SWITCHBOARD_TOKEN", "the token of listen")
    [line] = invoke("config").stderr.splitlines()
    assert "SWITCHBOARD_PROT" in line
    assert "SWITCHBOARD_PORT" in line


def test_what_kubernetes_puts_into_a_pod_is_not_pointed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8080_TCP_ADDR"):
        monkeypatch.setenv(f"SWITCHBOARD_{name}", "10.0.0.5")
    assert invoke("config").stderr == ""


def test_an_empty_variable_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_PORT", "")
    assert (effective()["port"]["value"], effective()["port"]["source"]) == ("8080", "default")
    monkeypatch.setenv("SWITCHBOARD_DURABLE_PREFIXES", "")
    found = effective()["durable_prefixes"]
    assert (found["value"], found["source"]) == (None, "environment")


def test_a_choice_may_be_in_capitals() -> None:
    assert effective("--log-level", "DEBUG")["log_level"]["value"] == "debug"
