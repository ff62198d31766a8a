"""`keys` on a data folder, with and without a server."""

import json
import urllib.error
import urllib.request

import pytest

from tests.cli.conftest import CommandLine, Served


def status(url: str, key: str) -> int:
    """Ask for the devices of an unknown user: 404 for a valid key, 401 for another."""
    request = urllib.request.Request(
        f"{url}/v1/users/4711/devices", headers={"Authorization": f"Bearer {key}"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    with caught.value as answer:
        return answer.code


def test_a_key_is_printed_alone_and_never_again(run: CommandLine) -> None:
    run.add()
    key = run("keys", "add", "shop", "--scope", "send", "--prefix", "note").stdout.strip()
    assert key.startswith("sbk_")
    assert " " not in key
    listed = run("keys", "list").stdout
    assert key not in listed
    assert "shop" in listed
    [row] = run.json("keys", "list")
    assert (row["name"], row["scopes"], row["prefixes"]) == ("shop", ["send"], ["note"])
    assert key not in json.dumps(row)


def test_a_key_as_json_has_all_that_is_known_of_it(run: CommandLine) -> None:
    run.add()
    issued = run.json("keys", "add", "shop", "--scope", "send", "--scope", "read")
    assert issued["key"].startswith("sbk_")
    assert (issued["name"], issued["scopes"]) == ("shop", ["send", "read"])


def test_a_revoked_key_is_gone_from_the_list(run: CommandLine) -> None:
    run.add()
    issued = run.json("keys", "add", "shop", "--scope", "admin")
    assert "shop" in run("keys", "revoke", str(issued["id"])).stdout
    assert "no API keys" in run("keys", "list").stdout
    assert "revoked" in run("keys", "list", "--all").stdout
    assert "no such key" in run.refused("keys", "revoke", str(issued["id"]))


@pytest.mark.parametrize(
    "arguments",
    [
        ("keys", "add", "shop"),
        ("keys", "add", "shop", "--scope", "fly"),
        ("keys", "add", "shop", "--scope", "send", "--prefix", "note.text"),
        ("keys", "add", "--scope", "send"),
        ("keys", "revoke", "x"),
    ],
    ids=" ".join,
)
def test_wrong_usage_makes_no_key(run: CommandLine, arguments: tuple[str, ...]) -> None:
    run.add()
    run.refused(*arguments, status=2)
    assert run.json("keys", "list", "--all") == []


@pytest.mark.process
def test_a_running_server_knows_a_new_key_and_a_revoked_one_at_once(served: Served) -> None:
    issued = served.run.json("keys", "add", "shop", "--scope", "read")
    assert status(served.url, issued["key"]) == 404
    [listed] = served.run.json("keys", "list")
    assert listed["last_used"] > 0
    served.run("keys", "revoke", str(issued["id"]))
    assert status(served.url, issued["key"]) == 401
