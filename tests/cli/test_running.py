"""Commands while a server runs, and what they do to its connections."""

import json
import os
import pty
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import jwt
import pytest
import trustme

from tests.cli.conftest import PASSWORD, ROOT, CommandLine, Process, Served, Spawn

pytestmark = pytest.mark.process


def test_health_answers_as_soon_as_the_url_is_printed(served: Served) -> None:
    with urllib.request.urlopen(f"{served.url}/health") as answer:
        assert answer.status == 200


def test_what_is_typed_on_one_device_arrives_on_the_other(served: Served) -> None:
    phone = served.listen("ada", "--device", "phone")
    laptop = served.listen("ada", "--device", "laptop", "--json", "--count", "1")
    phone.type("Dinner!")
    message = json.loads(laptop.line())
    assert (message["type"], message["payload"]) == ("note.text", {"text": "Dinner!"})
    assert message["from"]["instance"] == "default"
    assert phone.state().startswith("Delivered to device ")
    assert laptop.status() == 0


def test_a_name_is_the_same_device_each_time(served: Served) -> None:
    for _ in range(2):
        assert served.listen("ada", "--device", "phone").interrupt() == 0
    [device] = served.run.json("devices", "list", "ada")
    assert device["device_name"] == "phone"


def test_an_interrupted_listener_ends_well_and_leaves_no_session(served: Served) -> None:
    assert served.listen("ada").interrupt() == 0
    assert served.run.json("tokens", "list", "ada") == []


def test_send_reaches_a_listening_device(served: Served) -> None:
    listener = served.listen("ada", "--raw")
    assert (
        json.loads(
            served.run("send", "app.clock", "-", "--user", "ada", "--json", stdin="7").stdout
        )["delivered"]
        != []
    )
    assert json.loads(listener.line()) == {"type": "app.clock", "payload": 7}


def test_a_plain_line_has_type_sender_and_payload(served: Served) -> None:
    listener = served.listen("ada")
    served.run("send", "app.note", '{"text": "\\u009b31mred"}', "--everyone")
    line = listener.line()
    assert line.endswith('app.note  {"text":"\\u009b31mred"}')


def test_sending_to_nobody_says_so(served: Served) -> None:
    assert served.run("send", "app.clock", "--user", "ada").stdout == "Delivered to no device.\n"
    assert "server's own" in served.run.refused("send", "connected", "--everyone")


def test_a_revoked_device_is_off_and_its_listener_says_why(served: Served) -> None:
    listener = served.listen("ada")
    [device] = served.run.json("devices", "list")
    assert device["online"]
    assert served.run.json("devices", "revoke", str(device["id"])) == {"connections_closed": 1}
    assert "4502 revoked" in listener.state()
    assert listener.status() == 1


def test_the_same_device_twice_replaces_and_the_first_does_not_come_back(served: Served) -> None:
    first = served.listen("ada", "--device", "phone")
    second = served.listen("ada", "--device", "phone")
    assert "1000 replaced" in first.state()
    assert first.status() == 1
    assert second.interrupt() == 0


def test_two_instances_of_a_device_live_side_by_side(served: Served) -> None:
    first = served.listen("ada", "--device", "phone", "--instance", "a", "--count", "1")
    second = served.listen("ada", "--device", "phone", "--instance", "b")
    second.type("hello")
    assert "hello" in first.line()
    assert first.status() == 0


def test_a_count_not_reached_in_time_is_a_failure(served: Served) -> None:
    listener = served.start("listen", "ada", "--count", "2", "--timeout", "0.2")
    assert "2 did not arrive" in listener.last_state()
    assert listener.status() == 1


def test_time_that_runs_out_without_a_count_is_no_failure(served: Served) -> None:
    assert served.start("listen", "ada", "--timeout", "0.2").status() == 0


def test_it_signs_in_elsewhere_by_password_and_sends_what_follows_it(served: Served) -> None:
    phone = served.listen("ada", "--device", "phone", "--count", "1")
    laptop = served.spawn("listen", "ada", "--url", served.url, "--password-stdin")
    laptop.type(PASSWORD)
    laptop.type("typed after the password")
    assert "typed after the password" in phone.line()
    assert laptop.state().startswith("Connected to ")
    assert laptop.interrupt() == 0


def test_a_wrong_password_elsewhere_is_one_sentence(served: Served) -> None:
    listener = served.spawn("listen", "ada", "--url", served.url, "--password-stdin")
    listener.type("wrong")
    sentence = "Error: Not signed in (401): The handle or the password is wrong."
    assert listener.state() == sentence
    assert listener.status() == 1


def test_a_token_from_a_file_is_presented_and_its_session_is_kept(
    served: Served, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(f"{served.run.token()}\n")
    arguments = ("listen", "--url", served.url, "--token-file", str(tmp_path / "token"))
    assert served.connected(*arguments).interrupt() == 0
    [session] = served.run.json("tokens", "list", "ada")
    served.run("tokens", "revoke", str(session["session_id"]))
    dead = served.spawn(*arguments)
    assert "(401)" in dead.state()
    assert dead.status() == 1


def test_a_newer_token_in_the_file_is_taken_when_the_old_one_is_refused(
    run: CommandLine, spawn: Spawn, tmp_path: Path, unused_tcp_port: int
) -> None:
    file, now = tmp_path / "token", int(time.time())
    claims = {"iss": "app", "aud": "us", "sub": "7", "iat": now, "exp": now + 3600}

    def serve(secret: str) -> Process:
        """Have tokens end by another secret of the application, whatever the time."""
        more = {"algorithm": "HS256", "secret": secret, "issuer": "app", "audience": "us"}
        settings = {f"SWITCHBOARD_JWT_{name.upper()}": value for name, value in more.items()}
        token = {**claims, "device_id": "phone-0001"}
        file.write_text(jwt.encode(token, secret, algorithm="HS256"))
        arguments = ("serve", "--port", str(unused_tcp_port), "--data-dir", str(run.data_dir))
        return spawn(*arguments, env=os.environ | settings, stderr=subprocess.DEVNULL)

    first = serve("a" * 32)
    first.line()
    url = f"http://127.0.0.1:{unused_tcp_port}"
    arguments = ("--url", url, "--token-file", str(file), "--from", "live")
    listener = Served(run, url, spawn).connected("listen", *arguments)
    first.interrupt(signal.SIGKILL)
    serve("b" * 32).line()
    states = [listener.state()]
    while "Resumed" not in states[-1]:
        states.append(listener.state())
        assert states[-1], states
    assert any("(401)" in state for state in states)
    run("send", "app.clock", "--user", "id=1", "--store", "log")
    assert "app.clock" in listener.line()
    assert listener.interrupt() == 0


def test_a_listener_whose_reader_has_gone_ends(served: Served) -> None:
    listener = served.listen("ada")
    listener.leave()
    served.run("send", "app.clock", "--user", "ada")
    assert listener.status() == 1
    assert served.run.json("tokens", "list", "ada") == []


def test_a_listener_comes_back_to_a_server_that_was_restarted(
    run: CommandLine, spawn: Spawn, unused_tcp_port: int
) -> None:
    run.add()
    arguments = ("serve", "--port", str(unused_tcp_port), "--data-dir", str(run.data_dir))
    quick = (*arguments, "--drain-seconds", "0", "--reconnect-window-seconds", "0")
    first = spawn(*quick, stderr=subprocess.DEVNULL)
    first.line()
    listener = Served(run, "", spawn).listen("ada", "--count", "1")
    assert first.interrupt(signal.SIGTERM) == 0
    assert "1001 shutting_down" in listener.state()
    second = spawn(*quick, stderr=subprocess.DEVNULL)
    second.line()
    while (state := listener.state()) and not state.startswith("Connected"):
        assert "Trying again" in state
    assert state
    run("send", "app.clock", "--user", "ada")
    assert "app.clock" in listener.line()


def test_a_server_with_tls_is_listened_to_by_its_own_certificate(
    run: CommandLine, spawn: Spawn, tmp_path: Path
) -> None:
    run.add()
    certificate = trustme.CA().issue_cert("chat.example.org")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    server = spawn("serve", "--port", "0", "--data-dir", str(run.data_dir), *tls)
    assert "https://" in server.line()
    assert Served(run, "", spawn).listen("ada").interrupt() == 0


def test_a_second_server_on_the_folder_refuses_to_start(served: Served) -> None:
    second = served.spawn("serve", "--port", "0", "--data-dir", str(served.run.data_dir))
    states = [second.state() for _ in range(2)]
    assert any(state.startswith("Error: Another process (pid ") for state in states)
    assert second.status() == 1


def test_without_a_terminal_the_first_start_makes_no_user_and_says_how(
    run: CommandLine, spawn: Spawn
) -> None:
    server = spawn("serve", "--port", "0", "--data-dir", str(run.data_dir))
    assert server.line().startswith("Switchboard ")
    assert f"users add HANDLE --admin --data-dir {run.data_dir}" in server.line()
    assert run.json("users", "list") == []
    assert server.interrupt(signal.SIGTERM) == 0
    assert run.json("users", "list") == []


def test_the_commands_that_a_start_prints_can_be_pasted(run: CommandLine, spawn: Spawn) -> None:
    server = spawn("serve", "--port", "0", "--data-dir", str(run.data_dir))
    server.line()
    for handle, line in (("ada", server.line()), ("bob", server.line())):
        command = line.rpartition(": ")[2].replace("HANDLE", handle)
        subprocess.run(
            f"{command} --password-stdin",
            shell=True,  # as a person does
            cwd=ROOT,
            input=PASSWORD,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    listed = run.json("users", "list")
    assert [(user["handle"], user["roles"]) for user in listed] == [("ada", ["admin"]), ("bob", [])]
    assert server.interrupt(signal.SIGTERM) == 0


def test_on_a_terminal_the_first_start_makes_an_admin_who_can_sign_in(
    run: CommandLine, spawn: Spawn
) -> None:
    terminal, output = pty.openpty()
    with os.fdopen(terminal) as screen:
        arguments = ("serve", "--port", "0", "--data-dir", str(run.data_dir))
        server = spawn(*arguments, stdout=output, stderr=subprocess.DEVNULL)
        os.close(output)
        url = screen.readline().split()[-1]
        password = screen.readline().split()[-1]
        listener = spawn("listen", "admin", "--url", url, "--password-stdin")
        listener.type(password)
        assert listener.state().startswith("Connected to ")
        assert listener.interrupt() == 0
        assert run.json("users", "list")[0]["roles"] == ["admin"]
        assert server.interrupt(signal.SIGTERM) == 0
