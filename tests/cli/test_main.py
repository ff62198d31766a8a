"""Help, version and completion."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result

from app.base.version import VERSION
from app.cli.main import Deferred, commands
from tests.cli.conftest import ROOT, CommandLine, Served


def invoke(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(commands, arguments, env=environment)
    assert result.exit_code == 0, result.output
    return result


def named(group: click.Group, name: str) -> click.Command:
    command = group.commands[name]
    return command.load() if isinstance(command, Deferred) else command


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
        command = named(command, name)
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--data-dir" in options
    assert "--json" in options or path == ("completion",)


def test_every_option_says_what_it_does() -> None:
    for path in LEAVES:
        command: click.Command = commands
        for name in path:
            assert isinstance(command, click.Group)
            command = named(command, name)
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


def test_a_command_that_is_imported_late_is_listed_with_its_own_words() -> None:
    late = [command for command in commands.commands.values() if isinstance(command, Deferred)]
    assert [one.get_short_help_str(200) for one in late] == [
        one.load().get_short_help_str(200) for one in late
    ]


HEAVY = ("aiohttp", "alembic", "argon2", "cryptography", "jwt", "sqlalchemy", "uvloop")
REPORT_IMPORTS = f"""
import runpy, sys
try:
    runpy.run_module("app", run_name="__main__")
finally:
    print(*(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""


def imports_of(*arguments: str) -> list[str]:
    """Return which of the heavy libraries a command has imported."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT_IMPORTS, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr.splitlines()[-1].split()


@pytest.mark.process
@pytest.mark.parametrize(
    "arguments",
    [("version",), ("config",), ("--help",), ("users", "--help"), ("completion", "bash")],
    ids=" ".join,
)
def test_what_needs_no_database_imports_none(arguments: tuple[str, ...]) -> None:
    assert imports_of(*arguments) == []


@pytest.mark.process
def test_what_a_server_runs_is_light_for_the_caller(served: Served) -> None:
    folder = ("--data-dir", str(served.run.data_dir))
    for arguments in (
        ("users", "list"),
        ("devices", "list"),
        ("tokens", "list", "ada"),
        ("keys", "list"),
        ("send", "note.text", "1", "--everyone"),
        ("stream", "info"),
        ("limits",),
        ("connections", "list"),
        ("prune", "--dry-run"),
    ):
        assert imports_of(*arguments, *folder) == [], arguments


@pytest.mark.process
def test_what_works_on_the_folder_itself_imports_the_database(run: CommandLine) -> None:
    run.add()
    assert "sqlalchemy" in imports_of("users", "list", "--data-dir", str(run.data_dir))


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
