"""Help, version and completion."""

import json
import subprocess
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from app.base.version import VERSION
from app.cli.main import commands
from tests.cli.conftest import ROOT


def invoke(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(commands, arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name)


LEAVES = list(leaves(commands))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_help_json_and_a_data_folder(path: tuple[str, ...]) -> None:
    command: click.Command = commands
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--data-dir" in options
    assert "--json" in options or path == ("completion",)


def test_every_option_says_what_it_does() -> None:
    for path in LEAVES:
        command: click.Command = commands
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


def test_the_version_is_the_servers() -> None:
    assert invoke("version").stdout == f"{VERSION}\n"
    assert json.loads(invoke("version", "--json").stdout)["version"] == VERSION


@pytest.mark.process
def test_the_wrapper_answers_its_completion_script() -> None:
    environment = {"_SWITCHBOARD_COMPLETE": "bash_complete", "COMP_CWORD": "1"}
    completed = subprocess.run(
        [ROOT / "scripts/switchboard"],
        env={**environment, "COMP_WORDS": "switchboard de"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.stdout == "plain,devices\n"


@pytest.mark.process
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_completes_switchboard(shell: str) -> None:
    script = invoke("completion", shell).stdout
    assert "_SWITCHBOARD_COMPLETE" in script
    assert "switchboard" in script
